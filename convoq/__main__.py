"""python -m convoq"""

from convoq.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
