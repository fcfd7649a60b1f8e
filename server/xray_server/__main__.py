"""`python -m xray_server serve`: the server's commands without the core's command line."""

from xray_server.cli.commands import main

raise SystemExit(main())
