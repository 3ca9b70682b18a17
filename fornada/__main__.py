"""`python -m fornada`: the same as the command `fornada`."""

from fornada.cli import main

if __name__ == "__main__":
    main()
