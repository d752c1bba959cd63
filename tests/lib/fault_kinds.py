# SPDX-License-Identifier: GPL-3.0-or-later
"""What the service does to faults.sh's mounts: a table of faults, each some rules of the dev server
(contrib/devserver/README.md), and what follows for those who look at the outcome."""
import random

HTML = "<html><head><title>Gateway</title></head><body><h1>Please wait</h1></body></html>"
READS = {"method": "GET", "path": "/object/authenticated/"}


def body(status, code, message):
    return {"statusCode": str(status), "error": code, "code": code, "message": message}


class Fault:
    """`refuses`: the service may say no for good, so bytes may end in quarantine. `lies`: what it
    says of objects is wrong, so names and sizes may be. `rest`: seconds that a name is left alone
    after a change, as a request may be carried out once more behind it. `settings`: of the dev
    server. `pulse`: seconds with the fault and without it, in turn; else it is always there."""

    def __init__(self, *rules, chance=25, refuses=False, lies=False, rest=0, settings=None,
                 pulse=None, tokens=False):
        self.rules = [{"chance": chance, **rule} for rule in rules]
        self.refuses, self.lies, self.rest = refuses, lies, rest
        self.settings, self.pulse, self.tokens = settings or {}, pulse, tokens
        self.stops = [self]

    def seeded(self, seed, share=1.0):
        """The rules for one run; of several faults at once each hits less often."""
        return [{**rule, "chance": max(1, round(rule["chance"] * share)), "seed": seed + i}
                for i, rule in enumerate(self.rules)]


def error(status, **more):
    return {"kind": "error", "status": status, **more}


def after(status, **more):
    return {"kind": "error_after", "status": status, **more}


FAULTS = {
    "none": Fault(),
    "500": Fault(error(500)),
    "502-html": Fault(error(502, body=HTML)),
    "503-retry-after": Fault(error(503, headers={"Retry-After": "1"}), chance=15),
    "429": Fault(error(429)),
    "429-retry-after": Fault(error(429, headers={"Retry-After": "1"}), chance=15),
    "429-retry-late": Fault(error(429, headers={"Retry-After": "120"}), chance=8),
    "slow-down": Fault(error(429, body=body(429, "SlowDown", "Too many connections"))),
    "database-timeout": Fault(error(400, body=body(544, "DatabaseTimeout", "timed out"))),
    "locked": Fault(error(400, body=body(423, "ResourceLocked", "The resource is locked"))),
    "500-after": Fault(after(500)),
    "504-after": Fault(after(504, body=HTML)),
    "timeout-after": Fault(after(400, body=body(544, "DatabaseTimeout", "timed out"))),
    "reset-before": Fault({"kind": "reset_before"}),
    "reset-body": Fault({"kind": "reset_body", "after": 1000}),
    "reset-late-body": Fault({"kind": "reset_body", "after": 1100000}, chance=60),
    "reset-after": Fault({"kind": "reset_after"}),
    "garbage": Fault({"kind": "garbage", "body": "\x16\x03\x01\x02\x05\r\n\r\n"}),
    "truncate": Fault({"kind": "truncate", "after": 60}),
    "cut": Fault({"kind": "cut", "after": 60}, refuses=True),  # a refusal that is cut says nothing else
    "slow": Fault({"kind": "slow", "bytes": 1000, "ms": 30}),
    "delay": Fault({"kind": "delay", "ms": 300}, chance=40),
    "hang": Fault({"kind": "hang"}, chance=4),
    "hang-in-body": Fault({"kind": "hang", "after": 50}, chance=4),
    "away": Fault({"kind": "reset_before"}, chance=100, pulse=(1.2, 2.5)),
    "hangs-and-returns": Fault({"kind": "hang"}, chance=100, pulse=(1.2, 3)),
    "duplicate": Fault({"kind": "duplicate"}, rest=3),
    "duplicate-late": Fault({"kind": "duplicate", "ms": 150}, rest=3),
    "expired": Fault({"kind": "expired"}),
    "tokens": Fault(tokens=True),
    "bad-token": Fault(error(400, body=body(403, "AccessDenied", "signature verification failed"))),
    "401-empty": Fault(error(401)),
    "redirect": Fault(error(307, headers={"Location": "http://127.0.0.1:1/elsewhere"})),
    "200-html": Fault(error(200, body=HTML)),
    "200-empty": Fault(error(200)),
    "200-json": Fault(error(200, body={"status": "ok"})),
    "404-html": Fault(error(404, body=HTML), refuses=True),  # to the start of a resumable upload
    "404-json": Fault(error(404, body=body(404, "Not Found", "Cannot find it")), refuses=True),
    "403-empty": Fault(error(403), chance=10, refuses=True),
    "refused": Fault(error(400, method="POST", path="/object/*", body=body(
        403, "AccessDenied", "new row violates row-level security policy")), chance=15, refuses=True),
    "anon": Fault({"kind": "anon"}, chance=10, refuses=True, lies=True),
    "wrong-json": Fault(after(200, method="POST", body='{"hasNext": tru')),
    "close": Fault({"kind": "headers", "headers": {"Connection": "close"}}, chance=60),
    "gzip": Fault({"kind": "headers", "headers": {"Content-Encoding": "gzip"}}),
    "size-range": Fault({"kind": "size", "where": "content-range", "delta": 5}, refuses=True),
    "size-length": Fault({"kind": "size", "where": "content-length", "delta": 5},
                         {"kind": "size", "where": "content-length", "delta": -3}, refuses=True),
    "size-list": Fault({"kind": "size", "where": "list", "delta": 7}, chance=10, lies=True, refuses=True),
    "etag-read": Fault({"kind": "etag", **READS}, refuses=True),
    "etag-rows": Fault({"kind": "etag", "path": "/object/l*"}, chance=10, lies=True, refuses=True),
    "range-ignored": Fault({"kind": "range"}, refuses=True),
    "range-shifted": Fault({"kind": "range", "shift": 3}, refuses=True),
    "omit": Fault({"kind": "omit"}, chance=40, refuses=True),
    "options": Fault(error(500, method="OPTIONS"), error(404, method="OPTIONS", body=HTML),
                     chance=50),
    "tus-gone": Fault(error(404, method="PATCH"), error(410, method="HEAD")),
    "tus-trouble": Fault(error(409, method="PATCH"), after(500, method="PATCH"),
                         error(423, method="HEAD"), {"kind": "reset_after", "path": "/upload/"}),
    "rpc": Fault(error(500, path="/rest/"), after(502, path="/rest/"), chance=30),
    "rpc-gone": Fault(error(404, path="/rest/", body=body(404, "PGRST202", "no function"))),
    "clock": Fault(settings={"clock_s": 90000}, pulse=(1.5, 1.5)),
}

# What a seeded combination is made of: all that says the truth and can be told from success.
MIXED = sorted(name for name, fault in FAULTS.items()
               if fault.rules and not (fault.lies or fault.refuses or fault.rest or fault.pulse or fault.tokens))


def combination(seed):
    """Two to four faults at once."""
    rng = random.Random(seed)
    names = rng.sample(MIXED, rng.randint(2, 4))
    rules = [rule for name in names for rule in FAULTS[name].seeded(seed, 1 / len(names))]
    return "+".join(names), Fault(*rules)


TOURS = {"strict": lambda fault: not (fault.lies or fault.refuses or fault.rest),
         "wild": lambda fault: (fault.lies or fault.refuses) and not fault.rest,
         "twice": lambda fault: bool(fault.rest)}


def tour(which, seed):
    """All faults of one sort, one after the other, in the order of the seed."""
    names = sorted(name for name, fault in FAULTS.items() if TOURS[which](fault))
    random.Random(seed).shuffle(names)
    stops = [FAULTS[name] for name in names]
    whole = Fault(refuses=any(f.refuses for f in stops), lies=any(f.lies for f in stops),
                  rest=max(f.rest for f in stops))
    whole.stops = stops
    return f"tour:{which}", whole


def named(name, seed=0):
    """What to call it, and the fault: one of the table, mix:SEED, or tour:SORT."""
    kind, _, more = name.partition(":")
    if kind == "mix":
        return combination(int(more))
    if kind == "tour":
        return tour(more, seed)
    return name, FAULTS[name]
