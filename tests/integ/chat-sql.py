# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests/integ/chat-sql.sh asks the functions of contrib/sql/007-chat.sql.

  chat-sql.py URL contract | writers ROUNDS

URL is PostgREST's; tokens are signed with SUPABASE_JWT_SECRET; psql finds the same database by the
environment. The first thing that is not as it should be ends it.
"""
import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path += [os.path.join(HERE, "..", "replay")]
import replay  # noqa: E402

USERS = {"alice": "00000000-0000-0000-0000-00000000000a", "bob": "00000000-0000-0000-0000-00000000000b"}
FUNCTIONS = ("find", "turns", "begin", "lease", "end", "close")


def token(who):
    claims = {"role": "authenticated", "exp": int(time.time()) + 3600, "sub": USERS.get(who)}
    return replay.sign(claims, os.environ["SUPABASE_JWT_SECRET"])


def new_id():
    return str(uuid.uuid4())


def sql(text):
    return subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def same(what, want, got):
    if want != got:
        raise SystemExit(f"{what}: expected {want!r}, got {got!r}")


class Database:
    """One connection of one user; not for two threads."""

    def __init__(self, url, who="alice"):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=60)
        self.headers = {"Content-Type": "application/json"}
        if who:
            self.headers["Authorization"] = "Bearer " + token(who)

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body, self.headers)
        reply = self.connection.getresponse()
        return reply.status, json.loads(reply.read())

    def call(self, function, **p):
        status, answer = self.ask("POST", "/rpc/supafs_chat_" + function, json.dumps({"p": p}))
        if status != 200:
            raise SystemExit(f"{function} {p}: {status} {answer}")
        return answer

    def refused(self, function, code, p):
        status, answer = self.ask("POST", "/rpc/supafs_chat_" + function, json.dumps({"p": p}))
        same(f"{function} {p}: {status} {answer}", code, answer.get("code") if status >= 400 else status)

    def pages(self, conversation, limit=None, **p):
        """All of its messages, page by page; how many pages that were."""
        turns, n, cursor = [], 0, None
        while True:
            answer = self.call("turns", id=conversation, limit=limit, after=cursor, **p)
            turns += answer["turns"]
            n += 1
            if not answer["more"]:
                return turns, n
            cursor = answer["cursor"]


def ids(turns):
    return [t["id"] for t in turns]


def a_turn(db, conversation, holder, **p):
    """A turn from begin to end: ids of question and answer."""
    q, a = new_id(), new_id()
    began = db.call("begin", id=conversation, message=q, content="q", holder=holder, lease_s=30, **p)
    same("begun", True, "at" in began)
    db.call("end", id=conversation, holder=holder, to=q, message=a, content="a")
    return q, a


def one_turn(alice, bob):
    same("nothing yet", {"conversation": None}, alice.call("find", stem="stem"))
    q, a = new_id(), new_id()
    about = {"bucket": "b", "key": "a.pdf", "lease": 7, "closed": True}
    p = {"id": "stem-1", "title": "t", "about": about, "message": q, "content": "quést", "file_id": new_id(),
         "metadata": {"supafs": {"turn": 1}, "model": "m"}, "holder": "h1", "lease_s": 30}
    began = alice.call("begin", **p)
    same("none before it", [], began["turns"])
    same("K4: a lost reply", began, alice.call("begin", **p))
    same("rows", "1|1", sql("select (select count(*) from supafs_messages where content = 'quést'), "
                            "(select count(*) from conversation_files)"))
    found = alice.call("find", stem="stem")["conversation"]
    same("K2: found", ("stem-1", "t", {"bucket": "b", "key": "a.pdf"}, False),
         tuple(found[n] for n in ("id", "title", "about", "closed")))
    same("by id", found, alice.call("find", id="stem-1")["conversation"])

    busy = alice.call("begin", **dict(p, message=new_id(), holder="h2"))
    same("K5: busy", True, list(busy) == ["busy"] and 25 <= busy["busy"] <= 30)
    same("his", {"held": True}, alice.call("lease", id="stem-1", holder="h1", lease_s=10))
    same("renewed", True, alice.call("begin", **dict(p, message=new_id(), holder="h2"))["busy"] <= 10)
    same("not his", {"held": False}, alice.call("lease", id="stem-1", holder="h2", lease_s=10))

    # Another user, who knows all of the names.
    bob.refused("begin", "23505", dict(p, message=new_id(), holder="h1"))
    same("bob finds", {"conversation": None}, bob.call("find", id="stem-1"))
    same("bob reads", [], bob.call("turns", id="stem-1")["turns"])
    same("bob's lease", {"held": False}, bob.call("lease", id="stem-1", holder="h1", lease_s=0))
    bob.refused("end", "23503", {"id": "stem-1", "holder": "h1", "to": q, "message": a, "content": "forged"})
    same("bob closes", {"closed": False}, bob.call("close", id="stem-1"))

    e = {"id": "stem-1", "holder": "h1", "to": q, "message": a, "content": "a", "metadata": {"supafs": {"n": 1}}}
    ended = alice.call("end", **e)
    same("a lost reply", ended, alice.call("end", **e))
    turns = alice.call("turns", id="stem-1")
    same("the turn", [(q, "user", "quést", {"supafs": {"turn": 1}, "model": "m"}),
                      (a, "assistant", "a", {"supafs": {"n": 1, "to": q}})],
         [(t["id"], t["role"], t["content"], t["metadata"]) for t in turns["turns"]])
    same("the cursor", (ended["cursor"], False), (turns["cursor"], turns["more"]))
    same("behind it", ([], ended["cursor"]), tuple(alice.call("turns", id="stem-1", after=ended["cursor"])[n]
                                                   for n in ("turns", "cursor")))
    # Nobody has the lease now; who comes next is told what he has not read.
    q2 = new_id()
    began = alice.call("begin", id="stem-1", message=q2, content="q2", holder="h2", lease_s=30,
                       after=began["cursor"])
    same("K6: told", [a], ids(began["turns"]))
    return q, a, q2


def late_ones(alice, first):
    """stem-1, where h2 has begun a turn."""
    q, a, q2 = first
    late_q, late_a, a2 = new_id(), new_id(), new_id()
    began = alice.call("begin", id="stem-1", message=late_q, content="late", holder="h3")
    same("K8: told", [q, a, q2], ids(began["turns"]))
    end = {"id": "stem-1", "holder": "h3", "to": late_q, "message": late_a, "content": "late"}
    cursor = alice.call("end", **end)["cursor"]
    same("h2 still has it", {"held": True}, alice.call("lease", id="stem-1", holder="h2", lease_s=30))
    alice.call("end", id="stem-1", holder="h2", to=q2, message=a2, content="a2")
    same("the answer stands behind its question", [q, a, q2, a2, late_q, late_a], ids(alice.pages("stem-1")[0]))
    # Whoever has read up to late_a has not seen it.
    missed = alice.call("turns", id="stem-1", after=cursor, unanswered=[q2, late_q, new_id()])
    same("it is told", ([], [a2, late_a]), (missed["turns"], ids(missed["late"])))

    # A lease runs out; who had it ends all the same.
    q3, a3, q4, a4 = (new_id() for _ in range(4))
    mine = {"id": "stem-1", "message": q3, "content": "q3", "holder": "h3", "lease_s": 1, "after": cursor}
    began = alice.call("begin", **mine)
    other = {"id": "stem-1", "message": q4, "content": "q4", "holder": "h4", "lease_s": 60, "after": cursor}
    same("busy", {"busy": 1}, alice.call("begin", **other))
    time.sleep(1.1)
    same("K5: taken over", [q3], ids(alice.call("begin", **other)["turns"]))
    same("too late", {"held": False}, alice.call("lease", id="stem-1", holder="h3", lease_s=30))
    same("a reply lost before that", began, alice.call("begin", **mine))
    alice.call("end", id="stem-1", holder="h3", to=q3, message=a3, content="a3")
    same("h4 still has it", {"held": True}, alice.call("lease", id="stem-1", holder="h4", lease_s=60))
    alice.call("end", id="stem-1", holder="h4", to=q4, message=a4, content="a4")
    same("in order", [q3, a3, q4, a4], ids(alice.pages("stem-1")[0])[-4:])
    same("given back", {"held": False}, alice.call("lease", id="stem-1", holder="h4", lease_s=0))


def closing(alice):
    q = a_turn(alice, "stem-1", "h1")[0]
    same("closed", {"closed": True}, alice.call("close", id="stem-1"))
    same("again", {"closed": True}, alice.call("close", id="stem-1"))
    p = {"id": "stem-1", "content": "q", "holder": "h1", "lease_s": 30}
    same("no new turn", {"closed": True}, alice.call("begin", message=new_id(), **p))
    same("but that one", q, alice.call("begin", message=q, **p)["cursor"].split("|")[1])
    alice.call("lease", id="stem-1", holder="h1", lease_s=0)
    same("and late ones", True, "at" in alice.call("begin", id="stem-1", message=new_id(), holder="h", content="x"))
    same("found", True, alice.call("find", stem="stem")["conversation"]["closed"])
    for other in ("stem-9", "stem-10", "stem-x", "stem-011", "stem", "stem-", "stem-100-1", "stemm-12", "stem_11"):
        a_turn(alice, other, "h1")
    same("K2: the highest", "stem-10", alice.call("find", stem="stem")["conversation"]["id"])
    same("none", {"closed": False}, alice.call("close", id="nowhere-1"))


def pages(alice):
    for n in range(5):
        q = new_id()
        alice.call("begin", id="long-1", message=q, content=str(n) * 900000, holder="h", lease_s=30)
        alice.call("end", id="long-1", holder="h", to=q, message=new_id(), content="a")
    whole, n = alice.pages("long-1")
    same("2 MiB each", (10, 3), (len(whole), n))
    same("one by one", (whole, 10), alice.pages("long-1", 1))
    same("by three", (whole, 5), alice.pages("long-1", 3)[0:1] + (5,))
    asked = []
    for n in range(4):
        q = new_id()
        alice.call("begin", id="long-2", message=q, content="q", holder="h")
        asked.append(q)
    cursor = alice.call("turns", id="long-2")["cursor"]
    for q in asked[:3]:
        alice.call("end", id="long-2", holder="h", to=q, message=new_id(), content="a" * 900000)
    for wanted in (asked, asked[2:3]):
        late = alice.call("turns", id="long-2", after=cursor, unanswered=wanted)["late"]
        same("2 MiB of late ones", wanted[:2], [t["metadata"]["supafs"]["to"] for t in late])
    sql("""insert into supafs_messages (conversation_id, role, content, "timestamp", metadata)
           select id, 'user', n::text, now() - interval '2 hours' + n % 700 * interval '1 s', '{}'
             from supafs_conversations, generate_series(1, 1400) as n where continuation_id = 'stem-9'""")
    q = new_id()
    began = alice.call("begin", id="stem-9", message=q, content="q", holder="h", lease_s=30)
    same("not all at once", (1000, True), (len(began["turns"]), began["more"]))
    read, cursor = began["turns"], began["cursor"]
    while began["more"]:
        began = alice.call("turns", id="stem-9", after=cursor, limit=100)
        read, cursor = read + began["turns"], began["cursor"]
    same("all", 1403, len(read))
    same("none twice", 1403, len(set(ids(read))))
    same("the question", q, read[-1]["id"])
    same("in order", sorted(read, key=lambda t: (t["at"], t["id"])), read)


def others(alice):
    """Rows of other programs."""
    q, a = a_turn(alice, "odd-1", "h")
    sql("""insert into supafs_messages (conversation_id, role, content, "timestamp", metadata)
           select id, r.role, r.role || t, t::timestamptz, m from supafs_conversations,
               (values ('system', '2020-01-01', '7'::jsonb), ('user', null, '{}'), ('user', '-infinity', '{}'),
                   ('user', 'infinity', '{}'), ('user', '2400-01-01', '{}'), ('assistant', '2020-01-02', null),
                   ('user', '2020-01-03', '{"supafs": 7}'), ('user', '2020-01-04', '[]')) as r (role, t, m)
            where continuation_id = 'odd-1'""")
    turns = alice.pages("odd-1")[0]
    same("K10: by their time", [("system", 7), ("assistant", None), ("user", {"supafs": 7}), ("user", [])],
         [(t["role"], t["metadata"]) for t in turns[:4]])
    same("and no others", [q, a], ids(turns[4:]))
    # Another one's clock is ahead.
    ahead = sql("""insert into supafs_messages (conversation_id, role, content, "timestamp")
                   select id, 'user', 'ahead', now() + interval '1 hour' from supafs_conversations
                    where continuation_id = 'odd-1' returning id""")
    same("behind it all the same", [ahead, *a_turn(alice, "odd-1", "h"), *a_turn(alice, "odd-1", "h")],
         ids(alice.pages("odd-1")[0])[6:])
    for metadata in ("null", "[]", "7", '{"supafs": 7}', '{"supafs": {"lease": 7}}', '{"x": 1, "supafs": null}',
                     '{"supafs": {"lease": {"by": "x", "until": "x"}, "closed": "true"}}',
                     '{"supafs": {"lease": {"by": 7, "until": 1e300}}}',
                     '{"supafs": {"lease": {"by": "x", "until": -1e300}, "closed": 1}}'):
        sql(f"update supafs_conversations set metadata = '{metadata}' where continuation_id = 'odd-1'")
        same(metadata, False, alice.call("find", id="odd-1")["conversation"]["closed"])
        same(metadata, {"held": False}, alice.call("lease", id="odd-1", holder="h", lease_s=1))
        a_turn(alice, "odd-1", "h")
    same("what was there", '{"x": 1, "supafs": {}}', (
        sql("update supafs_conversations set metadata = '{\"x\": 1}' where continuation_id = 'odd-1'"),
        a_turn(alice, "odd-1", "h"),
        sql("select metadata from supafs_conversations where continuation_id = 'odd-1'"))[2])
    same("closed", {"closed": True}, alice.call("close", id="odd-1"))
    same("what is kept", '{"x": 1, "supafs": {"closed": true}}',
         sql("select metadata from supafs_conversations where continuation_id = 'odd-1'"))


def refusals(alice, nobody):
    begin = {"id": "r-1", "message": new_id(), "holder": "h", "lease_s": 30}
    end = {"id": "stem-1", "message": new_id(), "holder": "h", "to": new_id()}
    wrong = [("begin", dict(begin, **{name: value})) for name, value in (
        ("id", ""), ("id", None), ("id", 7), ("message", "x"), ("message", None), ("holder", ""), ("holder", None),
        ("lease_s", 0), ("lease_s", 3601), ("lease_s", -1), ("lease_s", "1"), ("lease_s", 1e99), ("content", 7),
        ("content", {}), ("metadata", "x"), ("metadata", []), ("about", "x"), ("title", 7), ("file_id", "x"),
        ("after", 7), ("after", "junk"), ("after", "junk|x"), ("after", "2026-13-01T00:00:00Z|x"))]
    wrong += [("end", dict(end, **{name: value})) for name, value in (
        ("id", None), ("to", None), ("to", "x"), ("message", None), ("message", "x"), ("holder", None),
        ("content", []), ("metadata", 7))]
    wrong += [("lease", {"id": "r-1", "holder": "h", "lease_s": s}) for s in (None, -1, 3601, "1", 0.5, 1e99)]
    wrong += [("turns", {"id": "r-1", **p}) for p in (
        {"id": None}, {"limit": 0}, {"limit": 1001}, {"limit": 1.5}, {"limit": "1"}, {"limit": -1e99},
        {"after": "x"}, {"after": {}}, {"unanswered": "x"}, {"unanswered": [new_id()] * 101})]
    wrong += [("find", p) for p in ({}, {"stem": "s", "id": "i"}, {"stem": ""}, {"stem": "a%"}, {"stem": "a b"},
                                    {"stem": 7}, {"id": []})]
    wrong += [("close", {}), ("close", {"id": 7})]
    wrong += [(f, p) for f in FUNCTIONS for p in (None, [], 7, "x")]
    for function, p in wrong:
        alice.refused(function, "22023", p)
    alice.refused("end", "23503", end)
    alice.refused("begin", "22P05", dict(begin, content="\0"))
    same("none of it was done", {"conversation": None}, alice.call("find", id="r-1"))
    for function in FUNCTIONS:
        nobody.refused(function, "42501", {})


def contract(url):
    alice, bob = Database(url), Database(url, "bob")
    late_ones(alice, one_turn(alice, bob))
    closing(alice)
    pages(alice)
    others(alice)
    refusals(alice, Database(url, None))


class Writer:
    """A mount that asks ROUNDS questions. Replies get lost, and two of ten are away for longer than their lease
    and answer when all is over."""

    def __init__(self, url, k, rounds):
        self.db, self.k, self.rounds = Database(url), k, rounds
        self.holder, self.cursor, self.seen, self.left, self.busy = f"w{k}", None, [], [], 0
        self.random = random.Random(k)

    def call(self, function, **p):
        if self.random.random() < 0.2:
            self.db.call(function, **p)  # nobody hears the answer
        return self.db.call(function, **p)

    def saw(self, turns):
        self.seen += [(t["id"], (t["metadata"].get("supafs") or {}).get("to")) for t in turns]

    def turn(self, i):
        q = new_id()
        away = self.k in (0, 5) and i == 1
        while True:
            p = {"id": "ten-1", "message": q, "content": f"{self.k}:{i}", "holder": self.holder,
                 "lease_s": 1 if away else 30, "after": self.cursor}
            began = self.call("begin", **p)
            if "at" in began:
                break
            self.busy += 1
            time.sleep(self.random.uniform(0.02, 0.1))
        same("more", False, began["more"])
        self.saw(began["turns"])
        self.seen.append((q, None))
        self.cursor = began["cursor"]
        if away:
            self.left.append((q, i))
        else:
            self.end(q, i)

    def end(self, q, i):
        a = new_id()
        ended = self.call("end", id="ten-1", holder=self.holder, to=q, message=a, content=f"{self.k}:{i}!")
        if (q, i) not in self.left:
            self.seen.append((a, q))
            self.cursor = ended["cursor"]

    def run(self):
        for i in range(self.rounds):
            self.turn(i)

    def read_on(self):
        answered = {to for _, to in self.seen if to}
        answers = {i for i, to in self.seen if to}
        open_ones = [i for i, to in self.seen if not to and i not in answered and i not in answers]
        same("few", True, len(open_ones) <= 100)
        while True:
            read = self.db.call("turns", id="ten-1", after=self.cursor, unanswered=open_ones)
            self.late = read["late"]
            self.saw(read["turns"])
            self.cursor = read["cursor"]
            if not read["more"]:
                return


def writers(url, rounds):
    all_of_them = [Writer(url, k, rounds) for k in range(10)]
    threads = [threading.Thread(target=w.run) for w in all_of_them]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for w in all_of_them:
        for q, i in w.left:
            w.end(q, i)
    rows = Database(url).pages("ten-1", 100)[0]
    same("rows", 2 * 10 * rounds, len(rows))
    asked = [t["content"] for t in rows[::2]]
    same("K6: each answer behind its question", [c + "!" for c in asked], [t["content"] for t in rows[1::2]])
    for k in range(10):
        same(f"order of {k}", [f"{k}:{i}" for i in range(rounds)],
             [c for c in asked if c.startswith(f"{k}:")])
    there = ids(rows)
    for w in all_of_them:
        w.read_on()
        late = set(ids(w.late))
        same(f"K7: what {w.k} read is the order", [i for i in there if i not in late], [i for i, _ in w.seen])
    same("some were away", 2, sum(len(w.left) for w in all_of_them))
    same("and were told late", True, all(w.late for w in all_of_them if w.left))
    same("some had to wait", True, any(w.busy for w in all_of_them))


if sys.argv[2] == "contract":
    contract(sys.argv[1])
else:
    writers(sys.argv[1], int(sys.argv[3]))
