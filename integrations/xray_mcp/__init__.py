"""X-Ray for coding agents, by the Model Context Protocol: `xray mcp` (stdio), and `/mcp` of the server (streamable HTTP).

    answers     what an agent gets to see: bounded, with links, what pipelines wrote marked as data
    tools       the tools and the prompt, over whatever can ask an X-Ray server
    command     `xray mcp`

Reads only. Knows the HTTP API of the server, and nothing of how it is served.
"""
