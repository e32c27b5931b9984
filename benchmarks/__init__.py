"""What convoq claims about its speed and its appetite, measured: `python -m benchmarks`."""
