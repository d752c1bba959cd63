# SPDX-License-Identifier: GPL-3.0-or-later
"""The mounts that are compared. Each is mounted afresh for a row, with nothing cached."""
import json
import os
import shutil
import subprocess

from world import BUCKET, Child, is_mounted, program, wait_for

TTL = 60


class Mount:
    """point: the mount point; top: where the bucket is; pid: who serves it."""
    says_stored = False  # `supafs bench` knows when what was written is in the bucket

    def syncs(self):
        return None

    def __init__(self, world, link, options=""):
        """options: further ones, of supafs alone."""
        self.world, self.link, self.more = world, link, options
        self.own = world.own_folder(self.name.replace(" ", "-"))
        self.point = f"{self.own}/mnt"
        os.mkdir(self.point)
        self.mount()
        # Connections are warm, and the list of buckets is known; nothing else is.
        os.listdir(f"{self.top}/other")

    def close(self):
        self.umount()
        if is_mounted(self.point):
            raise SystemExit(f"{self.point} cannot be unmounted")
        # Emptied, not removed before the end: ext4 searches long for an inode that has not been
        # deleted a moment ago, and the next mount's cache would pay for it.
        for where, _, names in os.walk(self.own):
            for name in names:
                path = os.path.join(where, name)
                if os.path.isfile(path) and os.path.getsize(path) > 65536:
                    os.truncate(path, 0)


class Supafs(Mount):
    name = "supafs"
    says_stored = True

    @staticmethod
    def missing(world):
        return None

    def mount(self):
        options = f"attr_ttl={TTL},cache_dir={self.own}/cache,state_dir={self.own}/state," \
                  f"log_file={self.world.folder}/supafs.log"
        for more in (self.more, os.environ.get("SUPAFS_BENCH_OPTIONS")):
            options += "," + more if more else ""
        subprocess.run([program("supafs"), "mount", self.link.url, self.point, "-o", options],
                       env={**os.environ, **self.world.server.env, "SUPABASE_URL": self.link.url},
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.top = f"{self.point}/{BUCKET}"
        with open(f"{self.point}/.supafs/status", encoding="utf-8") as lines:
            self.pid = int(next(one for one in lines if one.startswith("pid:")).split()[1])

    def syncs(self):
        """How often it has waited for its local disk."""
        with open(f"{self.point}/.supafs/stats", encoding="utf-8") as stats:
            return json.load(stats)["syncs"]

    def umount(self):
        subprocess.run([program("supafs"), "umount", self.point], check=True)


class RcloneDefault(Mount):
    name = "rclone default"
    options = ()

    @staticmethod
    def missing(world):
        if not shutil.which("rclone"):
            return "there is no rclone"
        if "AWS_ACCESS_KEY_ID" not in world.server.env:
            return "the dev server has no /s3"
        return None

    def mount(self):
        env = self.world.server.env
        config = f"{self.own}/rclone.conf"
        with open(config, "w", encoding="ascii") as out:
            out.write("[dev]\ntype = s3\nprovider = Other\nforce_path_style = true\n"
                      f"endpoint = {self.link.url}/storage/v1/s3\n"
                      f"region = {env.get('AWS_REGION', 'us-east-1')}\n"
                      f"access_key_id = {env['AWS_ACCESS_KEY_ID']}\n"
                      f"secret_access_key = {env['AWS_SECRET_ACCESS_KEY']}\n")
        clean = {k: v for k, v in os.environ.items() if k != "AWS_CA_BUNDLE"}
        self.child = Child(
            ["rclone", "mount", f"dev:{BUCKET}", self.point, "--config", config, "--cache-dir",
             f"{self.own}/cache", "--vfs-cache-mode", "full", "--dir-cache-time", f"{TTL}s",
             "--attr-timeout", f"{TTL}s", *self.options],
            f"{self.world.folder}/rclone.log", env={**clean, "no_proxy": "*"},
            stdout=subprocess.DEVNULL)
        self.pid = self.child.process.pid
        if not wait_for(lambda: is_mounted(self.point) or self.child.process.poll() is not None) \
                or not is_mounted(self.point):
            raise SystemExit(f"rclone did not mount; see {self.world.folder}/rclone.log")
        self.top = self.point

    def umount(self):
        self.child.end()
        if is_mounted(self.point):
            subprocess.run(["umount", "-l", self.point], check=False)


class RcloneTuned(RcloneDefault):
    """What its manual and users advise for many small files and random reads."""
    name = "rclone tuned"
    options = tuple(os.environ.get(
        "SUPAFS_BENCH_RCLONE",
        "--use-server-modtime --no-checksum --s3-no-head --vfs-write-back 0s --transfers 16"
        " --checkers 16 --s3-upload-concurrency 8 --buffer-size 0 --vfs-read-chunk-size 1M"
    ).split())


class Passthrough(Mount):
    """The limit for what is cached: the local copy of the files, through FUSE."""
    name = "passthrough"

    def mount(self):
        self.child = Child([program("tests/bench/passthrough"), self.world.files, self.point,
                            str(TTL)], f"{self.world.folder}/passthrough.log")
        if not wait_for(lambda: is_mounted(self.point)):
            raise SystemExit("the passthrough did not mount")
        self.top, self.pid = self.point, self.child.process.pid

    def umount(self):
        self.child.end()


SYSTEMS = [Supafs, RcloneDefault, RcloneTuned]
