"""`python -m fornada`: the same as the command `fornada`."""

from fornada.commands.router import main

if __name__ == "__main__":
    main()
