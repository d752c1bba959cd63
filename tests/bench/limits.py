# SPDX-License-Identifier: GPL-3.0-or-later
"""What plain curl reaches over the same link: the limits that rows are held against."""
import base64
import functools
import json
import os
import subprocess
import time

from world import BUCKET

MIB = 1 << 20


def quote(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def curl(world, link, transfers, connections):
    """All transfers (lists of config lines) by one curl; seconds."""
    path = f"{world.folder}/curl.conf"
    common = ["silent", "show-error", "fail", "max-time = 120", "http1.1",
              'header = "Expect:"'] + [f"header = {quote(f'{k}: {v}')}"
                                       for k, v in world.server.headers.items()]
    with open(path, "w", encoding="utf-8") as out:
        os.fchmod(out.fileno(), 0o600)
        if connections > 1:
            out.write(f"parallel\nparallel-immediate\nparallel-max = {connections}\n")
        out.write("\nnext\n".join("\n".join(common + lines) for lines in transfers) + "\n")
    return max(run_curl("--noproxy", "*", "-K", path) - start_of_curl(), 1e-6)


def run_curl(*arguments):
    began = time.monotonic()
    done = subprocess.run(["curl", "-q", *arguments], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"curl: {done.stderr.decode(errors='replace')}")
    return time.monotonic() - began


@functools.lru_cache(maxsize=None)
def start_of_curl():
    """Seconds until the program runs, at the least: no mount has to wait for that."""
    return min(run_curl("-V") for _ in range(9))


def get(link, key, begin=None, size=None):
    lines = [f"url = {quote(f'{link.url}/storage/v1/object/authenticated/{BUCKET}/{key}')}",
             'output = "/dev/null"']
    return lines if begin is None else lines + [f'range = "{begin}-{begin + size - 1}"']


def put(world, link, key, method="POST"):
    return [f"url = {quote(f'{link.url}/storage/v1/object/{BUCKET}/{key}')}",
            f'request = "{method}"', f"upload-file = {quote(f'{world.folder}/body')}",
            'output = "/dev/null"']


def body(world, size):
    with open(f"{world.folder}/body", "wb") as out:
        out.write(bytes(size))


def whole(world, link):
    size = world.sizes["large-size"]
    return curl(world, link, [get(link, "large", at, min(MIB, size - at))
                              for at in range(0, size, MIB)], 16)


def random_reads(world, link):
    """One range after another, or all of the file if that is sooner."""
    size = world.sizes["large-size"]
    step = size // world.sizes["random-reads"] // 4096 * 4096
    single = curl(world, link, [get(link, "large", i * step, 4096)
                                for i in range(world.sizes["random-reads"])], 1)
    if size / world.thin > 2 * single and link is world.links["thin"]:
        return single, "one by one"
    everything = whole(world, link)
    return min((single, "one by one"), (everything, "all of it"))


def through(world, link):
    return whole(world, link), "16 connections"


def small(world, link, connections=16):
    return curl(world, link, [get(link, f"small/f{i}")
                              for i in range(world.sizes["small-files"])],
                connections), f"{connections} connections"


def listing(world, link, count=None, prefix="list/"):
    """Pages of 1,000, one after another; their cursors are known here."""
    names = sorted(f"{prefix}f{i}" for i in range(count or world.sizes["list-files"]))
    pages = []
    for at in range(0, len(names), 1000):
        query = {"prefix": prefix, "limit": 1000, "with_delimiter": True}
        if at:
            query["cursor"] = base64.b64encode(f"l:{names[at - 1]}".encode()).decode()
        pages.append([f"url = {quote(f'{link.url}/storage/v1/object/list-v2/{BUCKET}')}",
                      'header = "Content-Type: application/json"',
                      f"data = {quote(json.dumps(query))}", 'output = "/dev/null"'])
    return curl(world, link, pages, 1), f"{len(pages)} page" + "s" * (len(pages) > 1)


def write_small(world, link):
    body(world, 4096)
    prefix = world.next_prefix("limit")
    return curl(world, link, [put(world, link, f"{prefix}/f{i}")
                              for i in range(world.sizes["write-files"])], 16), "16 connections"


def write_new(world, link):
    body(world, 4096)
    prefix = world.next_prefix("limit")
    return curl(world, link, [put(world, link, f"{prefix}/f{i}")
                              for i in range(world.sizes["one-by-one"])], 1), "one trip each"


def write_over(world, link):
    """A look at the version, and the upload."""
    body(world, 4096)
    prefix, transfers = world.next_prefix("limit"), []
    for i in range(world.sizes["one-by-one"]):
        world.server.put(f"{prefix}/f{i}", b"before")
    for i in range(world.sizes["one-by-one"]):
        key = f"{prefix}/f{i}"
        info = f"{link.url}/storage/v1/object/info/authenticated/{BUCKET}/{key}"
        transfers += [[f"url = {quote(info)}", 'output = "/dev/null"'],
                      put(world, link, key, "PUT")]
    return curl(world, link, transfers, 1), "two trips each"


def write_large(world, link):
    body(world, world.sizes["write-size"])
    return curl(world, link, [put(world, link, world.next_prefix("limit") + "/big")], 1), "one request"
