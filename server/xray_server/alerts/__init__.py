"""Alerts: rules over finished steps and runs, judged after the commit, sent by webhook or Apprise.

    watch     which committed records are worth judging (on the writer's thread: cheap, durable)
    judge     one rule, one finished step or run: breach, fine, or too little to say; `change` has the statistics
    series    from judgements to messages: fired once, resolved once, cooled down
    engine    the thread that judges what was committed; never in the way of ingest
    delivery  the thread that delivers messages, with retries; `webhook` and `apprise_target` are its ways out
    store     what all of this asks of a store (AlertStore); the stores' `alerts.py` answer

Nothing here is on the path of a request that writes.
"""
