"""What a sign-in costs: server CPU per operation of Doorward and of a peer, in one run on this machine.

`make bench` runs it. Nothing here is a test: it prints a table with ratios and passes no judgement but one: it fails,
saying what is missing, where a server or the peer cannot be had.

Wall-clock figures of a small or busy machine swing by a factor of several, so the figure to read is server CPU in
milliseconds per operation: user and system time of every server process, database and Redis included, over the
operations completed. Servers are pinned to one core, the client and the upstream provider to another. Rounds interleave
the operations, and the printed figure is the median of the rounds.

    __main__    options, the runs, the table
    servers     what is started: Doorward on two kinds of stores, the peer, the upstream provider
    upstream    an OpenID Connect provider that approves at once; its time is not counted
    flows       the operations, as a browser and a site would do them
    client      a small HTTP client that costs less than what it measures
    meter       CPU time and memory of process trees
    hanging     what a provider that never answers costs the people of another one
    local       verification of a token inside a site
"""
