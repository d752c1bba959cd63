# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened between the recorded exchanges and was not recorded itself.

The recorder kept the telling exchanges only. What the others left behind is known from later
answers: names, sizes, MD5 sums and times. Each entry here does it again, mostly through the API,
just before the recording it is named after.
"""
import json
import os
import sqlite3
import time


def start(api):
    """The recorded server had one bucket, `bench`, and none of ours."""
    for bucket in api.json("GET", "/bucket"):
        api.drop_bucket(bucket["id"])
    api.create_bucket("bench")
    api.policies([])


def drop_named_buckets(api):
    """The buckets of the name trials (`public`, `info`, `sign`: words of the routes) went again."""
    keep = {"bench", "fx-main", "fx-lim", "fx-pub", "fx-tmp", "fx-id"}
    for bucket in api.json("GET", "/bucket"):
        if bucket["id"] not in keep:
            api.drop_bucket(bucket["id"])


def listing(api):
    """18 objects of one byte. The order is that of the recorded times; the four leaf names x, y, z
    follow from the lengths of the recorded pages."""
    for key in ("Dir/upper", "dir/lower", "dir/sub/x", "dir/Sub/y", "dir2/z", "d_r/u", "Zeta",
                "alpha", "Beta", "beta", "_under", "dir.txt", "a/x", "a-b/y"):
        api.put("fx-list", key, b"x", "text/plain")
    for key in ("dir/emptyish/.emptyFolderPlaceholder", "ph/.emptyFolderPlaceholder"):
        api.put("fx-list", key, b"", "text/plain")
    for key in ("both", "both/child"):
        api.put("fx-list", key, b"x", "text/plain")


def insert_around_cursor(api):
    """One name before the cursor, one after the page: neither is on the page. Together they have
    35 characters, as the length of the last flat listing says."""
    api.put("fx-list", "Inserted-before", b"x", "text/plain")
    api.put("fx-list", "inserted-after-page2", b"x", "text/plain")


def paging(api):
    for number in range(10):
        api.put("fx-list", f"pg/f{number}", b"x", "text/plain")


def move_and_copy(api):
    api.put("fx-list", "mv/src", b"move me", "text/plain", "max-age=99", '{"m":"1"}')
    api.put("fx-list", "mv/other", b"x", "text/plain")
    api.put("fx-list", "cp/src", b"copy me", "text/plain", "max-age=99", '{"m":"1"}')


def token_expires(_):
    """sign.short is for one second."""
    time.sleep(1.1)


def public_object(api):
    api.put("fx-pub", "p.txt", b"public!", "text/plain")


def overwritten_a(api):
    api.put("fx-list", "ow", b"A" * 100, "text/plain")


def overwritten_b(api):
    api.put("fx-list", "ow", b"B" * 50, "text/plain")


def waiting_patch(api):
    """Another PATCH of the same upload that has brought 2 of its 5 bytes and waits: that is what the
    later answers say. It loses the lock, and its 2 bytes stay."""
    api.begin_patch("ZngtbWFpbi90dXMvbG9jay85NmFlN2MyZS1jYzcwLTRjZmUtYmM1ZS1kYThkN2E2N2YwNzI", 5, b"xx")


def s3_small(api):
    """What the S3 upload (not there yet) would have made."""
    api.put("fx-main", "s3/put.txt", b"s3 body", "text/plain", "max-age=5", '{"mode":"0644"}')


def s3_parts(api):
    """What the S3 multipart upload would have made: its MD5 was recorded."""
    body = b"A" * 5242880 + b"B" * 5242880 + b"C" * 1000
    api.put("fx-main", "s3/mp.bin", body, "application/octet-stream", None, '{"mode":"0600"}')


def vanish(api):
    """A client that declared 1,000 bytes, sent 10 and closed the connection."""
    api.vanish("/object/fx-rls/trunc", 1000, b"0123456789")


def orphans(api):
    """Rows of objects whose bytes were never there; the recorder had put them in with SQL."""
    api.create_bucket("fx-10k")
    for key in ("flat/file-000001.txt", "flat/file-000002.txt"):
        api.put("fx-10k", key, b"", "text/plain", "max-age=3600")
        version = json.loads(api.call("GET", f"/object/info/authenticated/fx-10k/{key}"))["version"]
        os.unlink(os.path.join(api.data, "objects", version[:2], version))
    with sqlite3.connect(os.path.join(api.data, "project.db"), timeout=10) as database:
        database.execute("UPDATE objects SET size = 1 WHERE bucket = 'fx-10k'")


def select_only(api):
    api.put("fx-rls", "a.txt", b"aaa", "text/plain")
    allow("select")(api)


def allow(*rights):
    def seed(api):
        """The policy that SQL had made, for the role authenticated on this bucket."""
        api.policies([{"bucket": "fx-rls", "role": "authenticated", "allow": rights}])
    return seed


BEFORE = {
    "auth.none": start,
    "key.put a.txt": drop_named_buckets,
    "list.v1.sample": listing,
    "list.v2.page2_after_insert": insert_around_cursor,
    "list.v1.page_a": paging,
    "move.info_before": move_and_copy,
    "sign.expired": token_expires,
    "public.get": public_object,
    "overwrite.r1": overwritten_a,
    "overwrite.r2": overwritten_b,
    "overwrite.same_content_info": overwritten_b,
    "tus.lock_second_patch": waiting_patch,
    "s3.put_info_rest": s3_small,
    "s3.mpu_info": s3_parts,
    "orphan.get": orphans,
    "rls.selectonly_list": select_only,
    "rls.select_insert_post_new": allow("select", "insert"),
    "rls.insert_only_post": allow("insert"),
    "rls.insert_only_put_new": allow("insert"),
    "rls.select_insert_put_new": allow("select", "insert"),
    "rls.select_insert_update_put_existing": allow("select", "insert", "update"),
    "upload.client_disconnect_then_info": vanish,
}
