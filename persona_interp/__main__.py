"""``python -m persona_interp`` is ``persona-interp``, for where scripts are not on the path."""

import signal


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported ends it without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from persona_interp.cli import main as run

    run()


if __name__ == "__main__":
    main()
