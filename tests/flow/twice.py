"""Names every RESTORE of one database that succeeded more than once on one server, by the server's own statement log.

    python3 twice.py DATABASE STATEMENT_LOG...      exit 1 and a line for each log with such a statement
"""
import collections, json, re, sys
database, logs = sys.argv[1], sys.argv[2:]
for log in logs:
    begun, good = {}, collections.Counter()
    for line in open(log, encoding="utf-8", errors="replace"):
        try:
            o = json.loads(line)
        except ValueError:
            continue  # a line that was cut off by the kill
        if "text" in o:
            begun[o["id"]] = o["text"]
        elif o.get("error") == 0 and o.get("said") == 3014:
            text = begun.get(o["id"], "")
            m = re.search(r"RESTORE (DATABASE|LOG) \[" + database + r"\](?: FROM (.*?) WITH| (WITH RECOVERY))", text)
            if m:
                good[m.group(2) or m.group(3)] += 1
    twice = [k for k, n in good.items() if n > 1]
    if twice:
        print(log, "succeeded more than once:", *twice)
        sys.exit(1)
