"""``python -m persona_interp`` is ``persona-interp``, for where scripts are not on the path."""

from persona_interp.cli import main

if __name__ == "__main__":
    main()
