"""My Account: what we hold about somebody, who got it, and every way to stop it. Reads and asks flows; decides nothing."""
