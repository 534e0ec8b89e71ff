"""What every room uses: command lines, user errors, files, processes, statistics, servers."""
