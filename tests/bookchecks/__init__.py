"""What can be wrong with a built page or a notebook, each as a function that lists what it found.

============== =================================================================
``pages``      the HTML as a file: links, alternative texts, outputs
``notebooks``  the notebooks to download: executed, complete, free of MyST
``browser``    the page as a browser shows it: formulas, console, contrast
============== =================================================================
"""
