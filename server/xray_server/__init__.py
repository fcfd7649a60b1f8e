"""The X-Ray server: keeps what pipelines report, and answers why.

`create_app` (app.py) makes the ASGI application over a Store (store.py); `xray serve` (cli.py, serve.py) runs it.
"""
