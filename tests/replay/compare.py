# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares an answer with the recorded one.

Everything is compared exactly except what must differ from run to run: ids, versions and times.
Of those the form is compared, and ids must correspond one to one over the whole replay: an id that
stayed the same in the recording (an overwrite, a move) stays the same here, a version that changed
there changes here.
"""
import base64
import binascii
import json
import re

# All headers that the recordings kept. One that the recording has not must be absent here too.
HEADERS = ["accept-ranges", "access-control-allow-headers", "access-control-allow-methods",
           "access-control-allow-origin", "access-control-expose-headers",
           "access-control-max-age", "cache-control", "content-disposition", "content-length",
           "content-range", "content-type", "created-at", "etag", "expires", "last-modified", "location",
           "tus-complete", "tus-extension", "tus-max-size", "tus-resumable", "tus-version",
           "upload-length", "upload-metadata", "upload-offset", "x-amz-bucket-region",
           "x-amz-meta-mode", "x-robots-tag"]

ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
DATE = (DAY + r", \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT|" +
        DAY + r" [A-Z][a-z]{2} \d\d \d{4} \d\d:\d\d:\d\d GMT")
VARYING = re.compile(f"({ID})|({TIME})|({DATE})")
# Placeholders that the recordings have in answers.
FREE = {"<TENANT>": r"[A-Za-z0-9_-]+", "<tus header list>": r"[A-Za-z0-9, -]+",
        "<SIGNED_TOKEN>": r"[A-Za-z0-9_.-]+", "<BASE_URL>": r"https?://[^/]+(?:/storage/v1)?",
        "<UPLOAD_ID>": r"[A-Za-z0-9_.-]+",
        "<TIME>": TIME}  # put in by _free_text()


def short(value, limit=110):
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= limit else text[:limit] + "..."


class Comparison:
    """The correspondence of ids lives as long as the replay."""

    def __init__(self):
        self.ours_of, self.recorded_of = {}, {}

    def differences(self, recorded, reply):
        """What differs, as a list of short texts; empty when the answers are equal."""
        self.times = {}
        found = []
        if reply.status != recorded["status"]:
            found.append(f"status {reply.status}, recorded {recorded['status']}")
        found += self._body(recorded["body"], reply)
        found += self._headers(recorded, reply.headers)
        return found

    # --- texts that hold ids and times --------------------------------------------------------

    def _text(self, where, recorded, ours):
        for placeholder in FREE:
            if placeholder in recorded:
                return self._free_text(where, recorded, ours)
        theirs, mine = VARYING.split(recorded), VARYING.split(ours)
        if len(theirs) != len(mine):
            return [f"{where}: {short(ours)!r}, recorded {short(recorded)!r}"]
        for at in range(0, len(theirs), 4):
            if theirs[at] != mine[at]:
                return [f"{where}: {short(ours)!r}, recorded {short(recorded)!r}"]
            for kind in range(1, 4) if at + 3 < len(theirs) else ():
                if bool(theirs[at + kind]) != bool(mine[at + kind]):
                    return [f"{where}: {short(ours)!r} has another form than {short(recorded)!r}"]
            if at + 3 < len(theirs):
                problem = self._varying(where, theirs[at + 1:at + 4], mine[at + 1:at + 4])
                if problem:
                    return [problem]
        return []

    def _varying(self, where, theirs, mine):
        if theirs[0]:
            if self.ours_of.setdefault(theirs[0], mine[0]) != mine[0]:
                return f"{where}: this id changed here, and did not in the recording"
            if self.recorded_of.setdefault(mine[0], theirs[0]) != theirs[0]:
                return f"{where}: this id is the same here, and changed in the recording"
        if theirs[1] and self.times.setdefault(theirs[1], mine[1]) != mine[1]:
            return f"{where}: time {mine[1]} differs from another that was equal when recorded"
        return None

    @staticmethod
    def _free_text(where, recorded, ours):
        pattern = re.escape(re.sub(TIME, "<TIME>", recorded))
        for placeholder, form in FREE.items():
            pattern = pattern.replace(re.escape(placeholder), form)
        pattern = re.sub(ID, ID.replace("\\", "\\\\"), pattern.replace(r"\-", "-"))
        if re.fullmatch(pattern, ours):
            return []
        return [f"{where}: {short(ours)!r}, recorded {short(recorded)!r}"]

    # --- bodies -------------------------------------------------------------------------------

    def _body(self, recorded, reply):
        text = reply.body.decode("utf-8", "replace")
        if isinstance(recorded, dict) and "_text_len" in recorded:
            return self._long_text(recorded, text)
        if isinstance(recorded, str):
            return self._text("body", recorded, text)
        try:
            ours = json.loads(text)
        except ValueError:
            return [f"body is no JSON: {short(text)!r}"]
        return self._value("body", recorded, ours)

    def _long_text(self, recorded, text):
        """Of long bodies the recording has the length and the first 300 characters. Ids and times
        have a fixed width, so the length is exact."""
        found = []
        if len(text) != recorded["_text_len"]:
            found.append(f"body of {len(text)} characters, recorded {recorded['_text_len']}")
        # The cut may go through an id or a time: compare up to the last whole member.
        head = recorded["_head"]
        head = head[:head.rfind(",") + 1] if "," in head and head[0] in "[{" else head
        return found + self._text("body's beginning", head, text[:len(head)])

    def _value(self, where, recorded, ours):
        if type(recorded) is not type(ours):
            return [f"{where}: {short(ours)}, recorded {short(recorded)}"]
        if isinstance(recorded, dict):
            return self._object(where, recorded, ours)
        if isinstance(recorded, list):
            return self._list(where, recorded, ours)
        if isinstance(recorded, str):
            if where.endswith(".nextCursor"):
                recorded, ours = opened(recorded), opened(ours)
            return self._text(where, recorded, ours)
        return [] if recorded == ours else [f"{where}: {ours!r}, recorded {recorded!r}"]

    def _object(self, where, recorded, ours):
        found = [f"{where}.{key}: missing" for key in recorded if key not in ours]
        found += [f"{where}.{key}: not in the recording" for key in ours if key not in recorded]
        for key in recorded:
            if key in ours:
                found += self._value(f"{where}.{key}", recorded[key], ours[key])
        return found

    def _list(self, where, recorded, ours):
        def names(rows):
            return [r.get("name") if isinstance(r, dict) else r for r in rows]
        if names(recorded) != names(ours):
            return [f"{where}: {short(names(ours))}, recorded {short(names(recorded))}"]
        found = []
        for at, row in enumerate(recorded):
            found += self._value(f"{where}[{at}]", row, ours[at])
        return found

    # --- headers ------------------------------------------------------------------------------

    def _headers(self, recorded, ours):
        found = []
        free_body = any(p in json.dumps(recorded["body"]) for p in FREE)
        for name in HEADERS:
            theirs, mine = recorded["headers"].get(name), ours.get(name)
            if name == "content-length" and (free_body or theirs is None):
                continue  # the recorder saw no length where the gateway or HTTP itself drops it
            if theirs is None and mine is not None:
                found.append(f"{name}: {short(mine)!r}, recorded without")
            elif theirs is not None and mine is None:
                found.append(f"{name}: missing, recorded {short(theirs)!r}")
            elif theirs is None:
                continue
            elif name == "location":
                found += self._location(theirs, mine)
            elif theirs is not None:
                found += self._text(name, theirs, mine)
        return found

    def _location(self, theirs, mine):
        """Of a resumable upload: the last part is base64 of bucket, key and version."""
        found = self._text("location", theirs.rpartition("/")[0], mine.rpartition("/")[0])
        return found + self._text("location's id", *(opened_id(x.rpartition("/")[2])
                                                     for x in (theirs, mine)))


def opened_id(text):
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return text


def opened(cursor):
    try:
        return base64.b64decode(cursor, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return cursor
