"""What a derived loss knows: small records that are detected in its formula and checked."""
