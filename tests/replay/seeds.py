# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened between the recorded exchanges and was not recorded itself.

The recorder kept the telling exchanges only. What the others left behind is known from later
answers: names, sizes, MD5 sums and times. Each entry here does it again, mostly through the API,
just before the recording it is named after.
"""
import os
import sqlite3
import time
import uuid


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


def s3_parts(api):
    """The parts that were sent before the last one came again; their MD5 sums were recorded, and
    the order follows from their times."""
    for number, body in ((3, b"C" * 1000), (1, b"A" * 5242880), (2, b"B" * 5242880)):
        time.sleep(0.002)
        api.s3("PUT", f"/s3/fx-main/s3/mp.bin?partNumber={number}&uploadId=<UPLOAD_ID>", body)


def vanish(api):
    """A client that declared 1,000 bytes, sent 10 and closed the connection."""
    api.vanish("/object/fx-rls/trunc", 1000, b"0123456789")


def orphans(api):
    """10,000 rows of objects whose bytes were never there; the recorder had put them in with SQL,
    and 50,000 into the other bucket, which no recording shows."""
    api.create_bucket("fx-10k")
    api.create_bucket("fx-50k")
    now = int(time.time() * 1000)
    rows = [("fx-10k", f"flat/file-{n:06}.txt", str(uuid.uuid4()), str(uuid.uuid4()),
             '"d41d8cd98f00b204e9800998ecf8427e"', "text/plain", "max-age=3600", n, now, now, now,
             now) for n in range(1, 10001)]
    with sqlite3.connect(os.path.join(api.data, "project.db"), timeout=10) as database:
        database.executemany(
            "INSERT INTO objects(bucket, name, id, version, etag, mime, cache, size, modified_ms, "
            "created_ms, updated_ms, accessed_ms) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


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
    "bucket.create_list": orphans,
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
    "s3.mpu_part_again_small": s3_parts,
    "rls.selectonly_list": select_only,
    "rls.select_insert_post_new": allow("select", "insert"),
    "rls.insert_only_post": allow("insert"),
    "rls.insert_only_put_new": allow("insert"),
    "rls.select_insert_put_new": allow("select", "insert"),
    "rls.select_insert_update_put_existing": allow("select", "insert", "update"),
    "upload.client_disconnect_then_info": vanish,
}
