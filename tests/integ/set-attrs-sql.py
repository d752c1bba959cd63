# SPDX-License-Identifier: GPL-3.0-or-later
"""The same calls of supafs_set_attrs to PostgREST over the SQL function and to the dev server.

  set-attrs-sql.py SERVICE REST OBJECTS

SERVICE and REST are URLs below which /rpc/supafs_set_attrs is; SERVICE is the dev server's. OBJECTS
is a file with lines BUCKET NAME VERSION-THERE VERSION-HERE of objects that both have. Each pair of
answers must be equal in status and body, but for the versions and times of the two; the tokens are
signed with SUPABASE_JWT_SECRET. What the service role changed with success is for the caller to
look at. Prints a line per case; exit status 1 when any differs.
"""
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path += [os.path.join(HERE, "..", "replay"), os.path.join(HERE, "..", "lib")]
import replay  # noqa: E402

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def tokens(secret):
    now = int(time.time())
    signed = {role: replay.sign({"role": role, "exp": now + 600}, secret)
              for role in ("service_role", "authenticated", "anon")}
    signed["expired"] = replay.sign({"role": "service_role", "exp": now - 60}, secret)
    signed["of another"] = replay.sign({"role": "service_role", "exp": now + 600}, secret + "x")
    signed["none of that"] = "abc"
    return signed


def call(base, name, token, body, method="POST"):
    headers = {"Content-Type": "application/json", "Accept": "application/json",
               "apikey": os.environ["SUPABASE_ANON_KEY"]}
    if token:
        headers["Authorization"] = "Bearer " + token
    request = urllib.request.Request(f"{base}/rpc/{name}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.headers, reply.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, refused.read().decode()


def arguments(target, **more):
    bucket, name, version = target
    whole = {"p_bucket": bucket, "p_name": name, "p_version": version, "p_cache_control": None,
             "p_mimetype": None, "p_metadata": None}
    whole.update(more)
    return whole


class Sides:
    """What one case sends to both, and what both must answer."""

    def __init__(self, urls, objects, signed):
        self.urls, self.objects, self.signed = urls, objects, signed
        self.failures = 0

    def fill_in(self, side, value):
        """An object's name in p_version stands for its version on that side."""
        versions = {name: there[side] for (_, name), there in self.objects.items()}
        body = dict(value)
        if "p_version" in body:
            body["p_version"] = versions.get(body["p_version"], body["p_version"])
        return json.dumps(body).encode(), {v: k for k, v in versions.items()}

    def case(self, what, status, body, who="service_role", name="supafs_set_attrs", method="POST"):
        seen = []
        for side, url in enumerate(self.urls):
            raw, names = body, {}
            if isinstance(body, dict):
                raw, names = self.fill_in(side, body)
            got, headers, text = call(url, name, self.signed.get(who), raw, method)
            for version, key in names.items():
                text = text.replace(version, f"<version of {key}>")
            kept = [headers.get(h) for h in ("content-type", "www-authenticate", "content-range")]
            seen.append((got, TIME.sub("<time>", text), kept))
        fine = seen[0] == seen[1] and seen[0][0] == status
        self.failures += not fine
        print(f"{'ok' if fine else 'FAILED':<7} {what}: {seen[0][0]} {seen[0][1][:160]}")
        if not fine:
            print(f"        wanted {status}, and PostgREST answers {seen[1]}, the dev server "
                  f"{seen[0]}")


def main():
    here, there, path = sys.argv[1:]
    objects = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            bucket, name, version_there, version_here = line.split()
            objects[bucket, name] = (version_here, version_there)
    both = Sides((here, there), objects, tokens(os.environ["SUPABASE_JWT_SECRET"]))
    one, closed, seen = ("b", "one", "one"), ("closed", "x", "x"), ("seen", "x2", "x2")
    everything = {"p_cache_control": 'no-cache, supafs="1;m=100600"', "p_mimetype": "text/css",
                  "p_metadata": {"k": "v", "n": [1, None]}}

    both.case("all three", 200, arguments(one, **everything))
    both.case("one of them", 200, arguments(("b", "two", "two"), p_cache_control="max-age=7"))
    both.case("no more than the time", 200, arguments(one))
    both.case("another version", 200, arguments(("b", "one", "two"), **everything))
    both.case("no version", 200, arguments(("b", "one", None), **everything))
    both.case("no such object", 200, arguments(("b", "none", "one"), **everything))
    both.case("no such bucket", 200, arguments(("none", "one", "one"), **everything))
    quoted = "'; drop table storage.objects; --$$\\\" \u00e9"
    both.case("what tries to get out of its quotes", 200,
              arguments(("b", "three", "three"), p_mimetype=f'text/x; a="{quoted}"',
                        p_cache_control=f'{quoted}, supafs="1;m=100600"'))
    both.case("a type that is no text", 200, arguments(("b", "two", "two"), p_mimetype=7))
    both.case("metadata that is no object", 400, arguments(one, p_metadata=[1]))

    both.case("hidden by the policies", 200, arguments(closed, **everything), "authenticated")
    both.case("seen, not to be changed", 403, arguments(seen, **everything), "authenticated")
    both.case("the same, another version", 200, arguments(("seen", "x2", "one")), "authenticated")
    both.case("the same without a token", 401, arguments(("seen", "anon", "anon")), None)
    both.case("the same with anon's token", 401, arguments(("seen", "anon", "anon")), "anon")
    both.case("allowed by the policies", 200, arguments(("open", "x3", "x3"), **everything),
              "authenticated")
    both.case("update without select", 200, arguments(("blind", "x4", "x4"), **everything),
              "authenticated")
    for who in ("expired", "of another", "none of that"):
        both.case(f"a token that is {who}", 401, arguments(one), who)

    few = arguments(one)
    del few["p_metadata"]
    both.case("a parameter too few", 404, few)
    both.case("a parameter too many", 404, arguments(one, p_more=1))
    both.case("no parameter", 404, {})
    both.case("another function", 404, arguments(one), name="another")
    both.case("no body", 404, b"")
    both.case("no JSON", 400, b"{no")
    both.case("another method", 405, {}, method="PUT")
    return 1 if both.failures else 0


if __name__ == "__main__":
    sys.exit(main())
