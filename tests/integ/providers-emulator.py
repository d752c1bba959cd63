# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulated AI providers of the dev server: each route, limit, setting and scenario, asked by
plain sockets. The environment is that of project.env. Prints a line per check; exit status 1 when
any fails.
"""
import json
import os
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import sse  # noqa: E402
from providers import (ADDRESS, ADMIN_PORT, MODELS, Answer, Site, admin, error_of,  # noqa: E402
                       same, sha256)

CHECKS = []
TEXT = "Grüße — 你好 🙂\n"
KIMI, KIMI_CN, GLM, ZAI, OPENAI = (Site(name) for name in MODELS)


def check(function):
    CHECKS.append(function)
    return function


# --- files ---------------------------------------------------------------------------------------

@check
def a_file_at_kimi():
    content = ("Der Inhalt.\n" * 1000).encode()
    first = KIMI.upload(content, "bericht.md").json()
    same("members", sorted(["id", "object", "bytes", "created_at", "filename", "purpose", "status",
                            "status_details"]), sorted(first))
    same("bytes", len(content), first["bytes"])
    same("status", "ok", first["status"])
    assert len(first["id"]) == 20 and first["id"].isalnum() and first["id"].islower(), first["id"]
    same("by id", first, KIMI.ask("GET", "/files/" + first["id"]).json())
    got = KIMI.ask("GET", f"/files/{first['id']}/content")
    same("type of content", "text/plain; charset=utf-8", got.headers["content-type"])
    same("content", {"content": content.decode(), "file_type": "text/plain", "title": "",
                     "filename": "bericht.md", "type": "file"}, got.json())
    second = KIMI.upload(content, "bericht.md").json()
    assert second["id"] != first["id"], "the provider knows no duplicates"
    listed = KIMI.ask("GET", "/files?limit=1").json()
    same("list", [second, first], listed["data"])
    assert "has_more" not in listed, listed
    uploads = KIMI.state()["uploads"]
    same("uploads", [(sha256(content), 2, [first["id"], second["id"]])],
         [(u["sha256"], u["count"], u["ids"]) for u in uploads])
    same("contents", {first["id"]: 1}, KIMI.state()["contents"])
    same("delete", {"id": first["id"], "object": "file", "deleted": True},
         KIMI.ask("DELETE", "/files/" + first["id"]).json())
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        error_of(KIMI.ask(method, f"/files/{first['id']}{path}"), 404, "resource_not_found_error")


@check
def a_file_at_glm():
    row = GLM.upload(b"eins,zwei\n", "a.csv", "agent").json()
    same("members", sorted(["id", "object", "bytes", "created_at", "filename", "purpose"]),
         sorted(row))
    assert row["id"].isdigit(), row
    same("by id", 404, GLM.ask("GET", "/files/" + row["id"]).status)
    for _ in range(4):
        GLM.upload(b"drei\n", "b.csv", "agent")
    page = GLM.ask("GET", "/files?purpose=agent&limit=3&order=created_at").json()
    same("a page", (3, True), (len(page["data"]), page["has_more"]))
    rest = GLM.ask("GET", f"/files?limit=3&after={page['data'][-1]['id']}").json()
    same("the next", (2, False, row), (len(rest["data"]), rest["has_more"], rest["data"][-1]))
    same("other purpose", [], GLM.ask("GET", "/files?purpose=batch").json()["data"])
    error_of(GLM.ask("GET", "/files?limit=101"), 400, "1210")
    error_of(GLM.ask("GET", f"/files/{row['id']}/content"), 400, "1210")
    batch = GLM.upload(b'{"a":1}\n', "b.jsonl", "batch").json()
    same("content of batch", b'{"a":1}\n', GLM.ask("GET", f"/files/{batch['id']}/content").body)
    same("delete", True, GLM.ask("DELETE", "/files/" + row["id"]).json()["deleted"])
    GLM.set(get_by_id=True, status_shown=True, id_style="file", int_codes=True)
    row = GLM.upload(b"vier\n", "c.csv", "agent").json()
    same("set otherwise", ("ok", "file-"), (row["status"], row["id"][:5]))
    same("by id", row, GLM.ask("GET", "/files/" + row["id"]).json())
    same("number", 404, GLM.ask("GET", "/files/none").json()["error"]["code"])


@check
def what_is_refused():
    error_of(KIMI.upload(b""), 400, "invalid_request_error")
    KIMI.set(max_bytes=1048576, max_files=1, total_bytes=2000000)
    assert "1MB" in error_of(KIMI.upload(b"x" * 1048577), 400, "invalid_request_error")
    same("at the limit", 200, KIMI.upload(b"x" * 1048576).status)
    assert "max file count 1," in error_of(KIMI.upload(b"x"), 400, "invalid_request_error")
    KIMI.set(max_files=0)
    assert "10GB" in error_of(KIMI.upload(b"x" * 1000000), 400, "invalid_request_error")
    assert "purpose" in error_of(KIMI.upload(b"x", purpose="assistants"), 400,
                                 "invalid_request_error")
    for name in ("a.rs", "noextension", ".hidden"):
        error_of(KIMI.upload(b"x", name), 400, "invalid_request_error")
    KIMI.set(unknown_suffix="fail")
    error_of(KIMI.upload(b"x", "a.rs"), 500, "server_error")
    KIMI.set(unknown_suffix="accept", empty="accept")
    same("accepted", 200, KIMI.upload(b"x", "a.rs").status)
    same("empty accepted", 200, KIMI.upload(b"").status)
    headers, body = sse.form([("purpose", "file-extract")], None, b"")
    error_of(KIMI.ask("POST", "/files", None, "", headers, body), 400, "invalid_request_error")
    error_of(KIMI.ask("POST", "/files", None, "", headers, body[:-20]), 400,
             "invalid_request_error")
    error_of(KIMI.ask("POST", "/files", {}), 400, "invalid_request_error")
    same("agent with txt", 200, GLM.upload(b"x", "a.txt", "agent").status)
    error_of(GLM.upload(b"x", "a.md", "agent"), 400, "1214")
    error_of(GLM.upload(b"x" * 5242881, "a.png", "agent"), 435, "1214")
    same("5 MB at z.ai", 200, ZAI.upload(b"x" * 5242881, "a.png", "agent").status)
    error_of(ZAI.upload(b"x", "a.csv", "file-extract"), 400, "1214")
    OPENAI.set(max_bytes=10)
    error_of(OPENAI.upload(b"x" * 11, "a.bin", "user_data"), 413, "invalid_request_error")


@check
def the_purpose_may_come_last():
    mark = "xx"
    body = (f"--{mark}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"/a/b/ü.txt\"\r\n"
            f"\r\nbytes\r\n--{mark}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n"
            f"file-extract\r\n--{mark}--\r\n").encode()
    got = KIMI.ask("POST", "/files", None, "",
                   [("Content-Type", "multipart/form-data; boundary=" + mark)], body).json()
    same("row", ("ü.txt", 5, "file-extract"), (got["filename"], got["bytes"], got["purpose"]))


@check
def what_no_client_sends():
    for name in (b"\xff\xfe.txt", b"a\xc3.txt"):
        body = (b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" + name +
                b"\"\r\n\r\nbytes\r\n--x\r\nContent-Disposition: form-data; name=\"purpose\"\r\n"
                b"\r\nfile-extract\r\n--x--\r\n")
        error_of(KIMI.ask("POST", "/files", None, "", [
            ("Content-Type", "multipart/form-data; boundary=x")], body), 400,
            "invalid_request_error")
    headers, body = sse.form([("purpose", "PURPOSE")], "a.txt", b"x")
    for purpose in (b"\xff", b"x" * 5000, b""):
        got = KIMI.ask("POST", "/files", None, "", headers, body.replace(b"PURPOSE", purpose))
        error_of(got, 400, "invalid_request_error")
    user = {"role": "user"}
    for messages in ([1], ["x"], [user], [{**user, "content": 1}], [{**user, "content": [1]}],
                     [{**user, "content": [{"type": "text"}]}], [{"content": "x"}], [[]],
                     [{**user, "content": [{"type": "image_url", "image_url": "x"}]}],
                     [{**user, "content": [{"type": "image_url", "image_url": {"url": ""}}]}]):
        error_of(KIMI.chat(messages), 400, "invalid_request_error")
    for body in (b"", b"[]", b"[" * 100000, b'{"model":"kimi-k2.6","messages":"x"}', b"\xff",
                 b'{"model":"\\u0000","messages":[]}'):
        error_of(KIMI.ask("POST", "/chat/completions", None, "", (), body), 400,
                 "invalid_request_error")
    for path in ("/files/%00", "/files/" + "x" * 5000, "/files//content", "/files/a/b/c", "/", ""):
        assert KIMI.ask("GET", path).status == 404, path
    same("fine", 200, KIMI.chat([{**user, "content": "x"}], max_tokens="many").status)
    same("fine", [], KIMI.state()["files"])


@check
def files_that_take_their_time():
    row = KIMI.upload(b"x", suffix="@pending-then-ok:2").json()
    same("status", "processing", row["status"])
    error_of(KIMI.ask("GET", f"/files/{row['id']}/content"), 400, "invalid_request_error")
    states = [KIMI.ask("GET", "/files/" + row["id"]).json()["status"] for _ in range(3)]
    same("polls", ["processing", "processing", "ok"], states)
    same("content", "x", KIMI.ask("GET", f"/files/{row['id']}/content").json()["content"])
    row = KIMI.upload(b"x", suffix="@pending-then-fail:0").json()
    row = KIMI.ask("GET", "/files/" + row["id"]).json()
    same("failed", ("error", True), (row["status"], "Failed" in row["status_details"]))
    error_of(KIMI.ask("GET", f"/files/{row['id']}/content"), 500, "server_error")
    row = KIMI.upload(b"x", suffix="@pending-forever").json()
    same("stuck", ["processing"] * 3,
         [KIMI.ask("GET", "/files/" + row["id"]).json()["status"] for _ in range(3)])
    KIMI.set(pending_polls=1, status_pending="queued", status_ready="ready")
    row = KIMI.upload(b"x").json()
    same("set", ["queued", "queued", "ready"], [row["status"]] + [
        KIMI.ask("GET", "/files/" + row["id"]).json()["status"] for _ in range(2)])
    GLM.set(status_shown=True, pending_polls=1)
    GLM.upload(b"x", "a.txt", "agent")
    same("by listing", ["processing", "ok"],
         [GLM.ask("GET", "/files").json()["data"][0]["status"] for _ in range(2)])


@check
def ids_that_vanish():
    row = KIMI.upload(b"x", suffix="@id-vanishes:1").json()
    same("once", 200, KIMI.ask("GET", "/files/" + row["id"]).status)
    error_of(KIMI.ask("GET", "/files/" + row["id"]), 404, "resource_not_found_error")
    same("listed", [], KIMI.ask("GET", "/files").json()["data"])
    row = KIMI.upload(b"x").json()
    KIMI.set(not_found="gateway")
    same("gateway", "url.not_found", KIMI.ask("GET", "/files/none").json()["error"])
    KIMI.set(not_found="invalid")
    error_of(KIMI.ask("GET", "/files/none"), 400, "invalid_request_error")
    admin("DELETE", "/providers/files?provider=kimi")
    error_of(KIMI.ask("GET", "/files/" + row["id"]), 400, "invalid_request_error")
    GLM.set(lifetime_s=30)
    GLM.upload(b"x", "a.txt", "agent")
    same("alive", 1, len(GLM.ask("GET", "/files").json()["data"]))
    for shift in (60, 0):
        sse.ask(("127.0.0.1", ADMIN_PORT), "PUT", "/settings", [], b'{"clock_s": %d}' % shift)
        same("expired", 0 if shift else 1, len(GLM.ask("GET", "/files").json()["data"]))


@check
def accounts_and_keys():
    row = KIMI.upload(b"x").json()
    same("another account", 404, KIMI.ask("GET", "/files/" + row["id"], suffix="+two").status)
    other = KIMI.upload(b"x", suffix="+two@ok").json()
    same("its list", [other["id"]],
         [f["id"] for f in KIMI.ask("GET", "/files", suffix="+two").json()["data"]])
    error_of(KIMI.ask("GET", "/files", key="sk-other"), 401, "incorrect_api_key_error")
    error_of(KIMI.ask("GET", "/files", key=KIMI_CN.key), 401, "incorrect_api_key_error")
    error_of(sse.ask(ADDRESS, "GET", KIMI.base + "/files"), 401, "invalid_authentication_error")
    error_of(GLM.ask("GET", "/files", key="x"), 401, "1002")
    error_of(OPENAI.ask("GET", "/files", key="x"), 401, "invalid_api_key")
    same("needs no key", 200, OPENAI.ask("GET", "/models", key="x", suffix="@ollama").status)
    message = error_of(KIMI.ask("GET", "/files", suffix="@no-such"), 400, "invalid_request_error")
    assert "no-such" in message, message


@check
def a_form_that_is_cut_leaves_nothing():
    headers, body = sse.form([("purpose", "file-extract")], "a.txt", b"x" * 100000)
    own = [("Authorization", "Bearer " + KIMI.key)]
    got = sse.ask(ADDRESS, "POST", KIMI.base + "/files", own + headers, body, 0.3, 50000)
    same("end", "timeout", got.end)
    same("list", [], KIMI.ask("GET", "/files").json()["data"])
    same("lost reply", "reset", KIMI.upload(b"y", suffix="@lost-reply").end)
    same("list", ["a.txt"], [f["filename"] for f in KIMI.ask("GET", "/files").json()["data"]])
    same("reset", "reset", KIMI.ask("GET", "/files", suffix="@reset").end)


@check
def parsing_at_glm():
    fields = [("tool_type", "lite"), ("file_type", "TXT")]
    task = GLM.upload(b"Text.\n", fields=fields, path="/parser/create").json()
    same("success", True, task["success"])
    path = f"/files/parser/result/{task['task_id']}/text"
    first, second = GLM.ask("GET", path).json(), GLM.ask("GET", path).json()
    same("states", ("processing", "succeeded", "Text.\n"),
         (first["status"], second["status"], second["content"]))
    same("sync", "Text.\n", GLM.upload(b"Text.\n", fields=[("tool_type", "prime-sync"),
                                                           ("file_type", "TXT")],
                                       path="/parser/sync").json()["content"])
    same("no file", [], GLM.ask("GET", "/files").json()["data"])
    error_of(GLM.upload(b"x", path="/parser/create"), 400, "1210")
    same("none at z.ai", 404, ZAI.upload(b"x", fields=fields, path="/parser/create").status)
    same("none at kimi", 404, KIMI.upload(b"x", fields=fields, path="/parser/create").status)


# --- errors --------------------------------------------------------------------------------------

@check
def every_error_in_the_words_of_its_site():
    shared = ["401", "403", "403-balance", "429-rpm", "429-tpm", "429-tpd", "429-concurrency",
              "429-quota", "429-overload", "400-invalid", "500", "503-loading"]
    kimi = {"401": "incorrect_api_key_error", "403": "permission_denied_error",
            "429-rpm": "rate_limit_reached_error", "429-quota": "exceeded_current_quota_error",
            "429-tpd": "rate_limit_reached_error", "429-overload": "engine_overloaded_error",
            "429-concurrency": "rate_limit_reached_error", "500": "unexpected_output"}
    glm = {"401": "1002", "403": "1220", "429-rpm": "1303", "429-quota": "1113",
           "429-tpd": "1304", "429-overload": "1312", "429-concurrency": "1302", "500": "500"}
    for site, known in ((KIMI, kimi), (GLM, glm), (OPENAI, {})):
        for name in shared:
            got = site.ask("GET", "/files", suffix="@" + name)
            status = int(name[:3])
            if (site, name) == (GLM, "403"):
                status = 434
            if (site, name) == (OPENAI, "429-overload"):
                status = 503
            message = error_of(got, status, known.get(name, got.json()["error"].get(
                "type", got.json()["error"].get("code"))))
            assert message, got.body
    assert "after 7 seconds" in KIMI.ask("GET", "/files", suffix="@429-rpm:7").json()[
        "error"]["message"]
    assert "org-" in KIMI.ask("GET", "/files", suffix="@429-quota").json()["error"]["message"]
    for name, kind in (("404-model", "resource_not_found_error"), ("filter", "content_filter"),
                       ("400-toolong", "invalid_request_error")):
        error_of(KIMI.chat(suffix="@" + name), int(name[:3]) if name[0] == "4" else 400, kind)
        same("only chats", 200, KIMI.ask("GET", "/files", suffix="@" + name).status)
    for name in ("zero-byte", "over-limit", "count-limit", "total-limit", "purpose-refused",
                 "type-refused", "extract-fails"):
        got = KIMI.upload(b"x", suffix="@" + name)
        same(name, 500 if name == "extract-fails" else 400, got.status)
    same("no file", [], KIMI.ask("GET", "/files").json()["data"])
    same("code", ("1308", 429), (lambda g: (g.json()["error"]["code"], g.status))(
        GLM.chat(suffix="@code:1308")))
    same("status of a code", 400, GLM.chat(suffix="@code:1261:400").status)


@check
def errors_that_are_none_of_the_service():
    for name, status in (("html-502", 502), ("html-504", 504), ("413", 413)):
        got = KIMI.upload(b"x" * 100000, suffix="@" + name)
        same(name, (status, "text/html", True),
             (got.status, got.headers["content-type"], b"<html>" in got.body))
    same("empty", (502, b""), (lambda g: (g.status, g.body))(KIMI.ask("GET", "/files",
                                                                      suffix="@empty-502")))
    got = KIMI.ask("GET", "/files", suffix="@gateway-string-error").json()
    same("gateway", (5, "url.not_found", False), (got["code"], got["error"], got["status"]))
    same("unknown route", "url.not_found", KIMI.ask("GET", "/nothing").json()["error"])
    error_of(GLM.ask("GET", "/nothing"), 404, "1222")
    same("no files", 404, OPENAI.ask("GET", "/files", suffix="@no-files").status)
    same("no object", {}, KIMI.ask("GET", "/files", suffix="@empty-object").json())
    try:
        KIMI.ask("GET", "/files", suffix="@garbage").json()
        raise AssertionError("garbage is JSON")
    except ValueError:
        pass
    same("retry-after", "2", KIMI.ask("GET", "/files", suffix="@retry-after:2").headers[
        "retry-after"])
    got = OPENAI.ask("GET", "/files", suffix="@503-loading,retry-after:1")
    same("with another", (503, "1"), (got.status, got.headers["retry-after"]))


@check
def languages_at_glm():
    got = GLM.ask("GET", "/files", suffix="@429-quota").json()["error"]["message"]
    assert "余额不足" in got, got
    english = [("Accept-Language", "en-US,en")]
    got = GLM.ask("GET", "/files", suffix="@429-quota", headers=english).json()["error"]
    same("english", "Insufficient balance or no resource package. Please recharge.", got["message"])
    assert "Insufficient" in ZAI.ask("GET", "/files", suffix="@429-quota").json()["error"][
        "message"]


@check
def servers_that_one_runs_oneself():
    for flavour in ("ollama", "llama.cpp", "vllm", "lmstudio"):
        OPENAI.set(flavour=flavour)
        same("no files at " + flavour, 200 if flavour == "lmstudio" else 404,
             OPENAI.upload(b"x", purpose="user_data").status)
        got = Answer(OPENAI.chat(stream_options={"include_usage": True}))
        same(flavour, (True, "stop", ["trailing"]), (got.done, got.finish, got.usage))
        assert TEXT in got.content, got.content
    OPENAI.set(flavour="llama.cpp")
    same("loading", {"error": {"code": 503, "message": "Loading model",
                               "type": "unavailable_error"}},
         OPENAI.ask("GET", "/models", suffix="@503-loading").json())
    error = OPENAI.chat(suffix="@400-toolong").json()["error"]
    same("too long", ("exceed_context_size_error", 400, True),
         (error["type"], error["code"], error["n_prompt_tokens"] > error["n_ctx"]))
    OPENAI.set(flavour="ollama")
    error = OPENAI.chat(suffix="@500").json()["error"]
    same("ollama", ("api_error", None, None), (error["type"], error["param"], error["code"]))
    chunks = Answer(OPENAI.chat(suffix="@reasoning")).chunks
    assert all(c["system_fingerprint"] == "fp_ollama" for c in chunks), chunks
    assert all(c["choices"][0]["delta"]["role"] == "assistant" for c in chunks), chunks
    assert "reasoning" in chunks[0]["choices"][0]["delta"], chunks[0]
    OPENAI.set(flavour="vllm", flat_errors=True)
    error = OPENAI.chat(suffix="@400-invalid").json()
    same("flat", ("error", 400, True), (error["object"], error["code"], "message" in error))
    delta = Answer(OPENAI.chat(suffix="@reasoning")).chunks[1]["choices"][0]["delta"]
    same("both names", (True, None), ("reasoning" in delta, delta["reasoning_content"]))
    OPENAI.set(flavour="lmstudio", context_tokens=100)
    got = Answer(OPENAI.chat([{"role": "user", "content": "x" * 1000}]))
    same("nothing at all", (True, "", "stop"), (got.done, got.content, got.finish))


# --- chats ---------------------------------------------------------------------------------------

@check
def the_text_travels():
    text = "Zeile eins\nZeile zwei: 42\n" * 3 + "Das Ende 🙂\n"
    question = "Was steht am Ende?\nfind: Das Ende"
    messages = [{"role": "system", "content": text}, {"role": "system", "content": "kurz"},
                {"role": "user", "content": question}]
    for stream in (True, False):
        got = KIMI.chat(messages, stream=stream)
        content = (Answer(got).content if stream
                   else got.json()["choices"][0]["message"]["content"])
        for line in (TEXT[:-1], f"system 1: {len(text.encode())} bytes, sha256 {sha256(text)}",
                     f"system 2: 4 bytes, sha256 {sha256('kurz')}",
                     f"user 1: {len(question)} bytes, sha256 {sha256(question)}",
                     "You wrote: Was steht am Ende?",
                     'found "Das Ende": system 1: Das Ende 🙂; 1'):
            assert line in content.split("\n"), (line, content)
    chat = KIMI.state()["chats"][-1]
    same("kept", [("system", sha256(text)), ("system", sha256("kurz")), ("user", sha256(question))],
         [(m["role"], m["sha256"]) for m in chat["messages"]])


@check
def pictures_and_files_of_others():
    row = KIMI.upload(b"png bytes", "a.png", "image").json()
    part = {"type": "image_url", "image_url": {"url": "ms://" + row["id"]}}
    data = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGFsbG8="}}
    got = Answer(KIMI.chat([{"role": "user", "content": [
        {"type": "text", "text": "Was?"}, part, data]}])).content
    assert f"user image_url: 9 bytes, sha256 {sha256('png bytes')}" in got, got
    assert f"user image_url: 5 bytes, sha256 {sha256('hallo')}" in got, got
    part["image_url"]["url"] = "ms://none"
    error_of(KIMI.chat([{"role": "user", "content": [part]}]), 404, "resource_not_found_error")
    file = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "x"}}]}]
    assert "Invalid value: file." in error_of(KIMI.chat(file), 400, "invalid_request_error")
    row = GLM.upload(b"x,y", "a.csv", "agent").json()
    file[0]["content"][0]["file"]["file_id"] = row["id"]
    error_of(GLM.chat(file), 400, "1210")
    GLM.set(file_id_in_chat=True)
    assert f"user file: 3 bytes, sha256 {sha256('x,y')}" in Answer(GLM.chat(file)).content


@check
def a_signed_url_is_fetched():
    storage = [("Authorization", "Bearer " + os.environ["SUPABASE_SERVICE_ROLE_KEY"])]
    content = b"%PDF-1.4 \x00\xff" * 1000
    sse.ask(ADDRESS, "POST", "/storage/v1/object/results/a b.pdf".replace(" ", "%20"),
            storage + [("x-upsert", "true"), ("Content-Type", "application/pdf")], content)
    got = sse.ask(ADDRESS, "POST", "/storage/v1/object/sign/results/a%20b.pdf",
                  storage + [("Content-Type", "application/json")], b'{"expiresIn":60}')
    url = os.environ["SUPABASE_URL"] + "/storage/v1" + got.json()["signedURL"].replace(" ", "%20")
    part = {"type": "file_url", "file_url": {"url": url}}
    messages = [{"role": "user", "content": [part, {"type": "text", "text": "Was?"}]}]
    got = Answer(GLM.chat(messages, model="glm-4.6v")).content
    assert f"user file_url: {len(content)} bytes, sha256 {sha256(content)}" in got, got
    error_of(GLM.chat(messages), 400, "1210")
    part["file_url"]["url"] = url[:-5]
    error_of(GLM.chat(messages, model="glm-4.6v"), 400, "1210")
    part["file_url"]["url"] = "http://127.0.0.1:1/x"
    error_of(GLM.chat(messages, model="glm-4.6v"), 400, "1210")


@check
def what_chats_are_refused():
    same("model", 404, KIMI.chat(model="kimi-latest").status)
    error_of(GLM.chat(model="glm-0"), 400, "1211")
    error_of(GLM.chat(stream_options={"include_usage": True}), 400, "1210")
    error_of(GLM.chat([{"role": "system", "content": "x"}]), 400, "1210")
    same("too big", 400, KIMI.chat([{"role": "user", "content": "x" * 2100000}]).status)
    KIMI.set(context_tokens=1000, max_body=0, echo_reasoning=True)
    message = error_of(KIMI.chat([{"role": "user", "content": "x" * 4000}], max_tokens=24), 400,
                       "invalid_request_error")
    assert "token limit: 1000 (requested: 1025)" in message, message
    again = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"},
             {"role": "user", "content": "z"}]
    assert "reasoning_content is missing" in error_of(KIMI.chat(again), 400,
                                                      "invalid_request_error")
    same("not thinking", 200, KIMI.chat(again, thinking={"type": "disabled"}).status)
    again[1]["reasoning_content"] = "hm"
    same("echoed", 200, KIMI.chat(again).status)
    for body in ({}, {"model": "kimi-k2.6"}, {"model": "kimi-k2.6", "messages": [{"role": "x"}]}):
        error_of(KIMI.ask("POST", "/chat/completions", body), 400, "invalid_request_error")
    error_of(KIMI.ask("POST", "/chat/completions", None, "", (), b"{"), 400,
             "invalid_request_error")


@check
def tokens_and_their_limits():
    got = Answer(KIMI.chat(max_tokens=3))
    same("only thought", ("", "The user wants", "length"), (got.content, got.reasoning, got.finish))
    got = Answer(KIMI.chat(max_completion_tokens=12, max_tokens=99))
    same("twelve", ("Grüße —", "length"), (got.content, got.finish))
    got = Answer(KIMI.chat(thinking={"type": "disabled"}))
    same("not thinking", ("", "stop"), (got.reasoning, got.finish))
    messages = [{"role": "user", "content": "Was?"}]
    whole = Answer(KIMI.chat(messages)).content
    begin = Answer(KIMI.chat(messages, max_tokens=15)).content
    messages.append({"role": "assistant", "content": begin, "partial": True})
    same("goes on", (True, whole), (begin != "", begin + Answer(KIMI.chat(messages)).content))
    same("words", "w1 w2 w3 w4 w5", Answer(KIMI.chat(suffix="@words:5")).content.split("\n")[-2])
    long = [{"role": "system", "content": "x" * 4000}, {"role": "user", "content": "eins"}]
    cached = []
    for question in ("zwei", "drei"):
        long[1]["content"] = question
        usage = KIMI.chat(long, stream=False).json()["usage"]
        cached.append(usage["cached_tokens"])
    same("cached", [0, 768], cached)
    got = KIMI.ask("POST", "/tokenizers/estimate-token-count",
                   {"model": "kimi-k2.6", "messages": long}).json()
    same("tokens", (0, True), (got["code"], got["data"]["total_tokens"] > 1000))
    assert KIMI.ask("GET", "/users/me/balance").json()["data"]["available_balance"] > 0
    assert "kimi-k2.6" in [m["id"] for m in KIMI.ask("GET", "/models").json()["data"]]
    same("one", "kimi-k2.6", KIMI.ask("GET", "/models/kimi-k2.6").json()["id"])
    same("none at glm", 404, GLM.ask("GET", "/models").status)


@check
def places_of_usage():
    asked = {"stream_options": {"include_usage": True}}
    same("kimi", ["choice"], Answer(KIMI.chat()).usage)
    same("kimi, asked", ["choice", "trailing"], Answer(KIMI.chat(**asked)).usage)
    same("glm", ["last"], Answer(GLM.chat()).usage)
    same("openai", [], Answer(OPENAI.chat()).usage)
    same("openai, asked", ["trailing"], Answer(OPENAI.chat(**asked)).usage)
    for name, place in (("usage-in-choice", ["choice"]), ("usage-trailing", ["trailing"]),
                        ("usage-last", ["last"]), ("usage-none", [])):
        same(name, place, Answer(GLM.chat(suffix="@" + name)).usage)
    early = Answer(GLM.chat()).chunks[0]["choices"][0]
    assert "finish_reason" not in early and early["delta"]["role"] == "assistant", early


@check
def streams_that_are_written_oddly():
    plain = Answer(KIMI.chat())
    for name in ("one-byte-writes", "crlf", "comments", "no-space", "many-data", "no-blank",
                 "escapes", "one-byte-writes,crlf,comments,many-data"):
        got = KIMI.chat(suffix="@" + name)
        answer = Answer(got)
        same(name, (plain.content, plain.reasoning, "stop", True),
             (answer.content, answer.reasoning, answer.finish, answer.done))
        if "one-byte" in name:
            same("pieces", len(got.body), got.pieces)
    assert b"\\ud83d\\ude42" in KIMI.chat(suffix="@escapes").body.lower()
    assert "\ud83d " in Answer(KIMI.chat(suffix="@lone-surrogate")).content
    assert KIMI.chat(suffix="@no-blank").body.endswith(b"data: [DONE]")
    assert b": ping\n" in KIMI.chat(suffix="@comments").body


@check
def streams_that_go_wrong():
    whole = Answer(KIMI.chat()).content
    for name, end in (("no-done", "whole"), ("cut", "cut"), ("reset", "reset")):
        got = KIMI.chat(suffix="@" + name)
        same(name, end, got.end)
        same("ended", "reset" if name == "reset" else "cut", KIMI.state()["chats"][-1]["ended"])
        if name != "reset":
            answer = Answer(got)
            assert not answer.done and answer.finish is None, got.body
            assert answer.content and whole.startswith(answer.content), answer.content
    for form in ("", ":event", ":done"):
        answer = Answer(KIMI.chat(suffix="@mid-error" + form))
        same("mid-error" + form, ("engine_overloaded_error", form == ":done"),
             (answer.errors[0]["type"], answer.done))
    same("as a string", True, isinstance(Answer(KIMI.chat(suffix="@mid-error:string")).errors[0],
                                         str))
    assert b'\nerror: {"error"' in KIMI.chat(suffix="@mid-error:line").body
    lines = GLM.chat(suffix="@glm-cut").body.split(b"\n")
    broken = [line for line in lines if line.count(b"data: {") == 2]
    same("cut lines", 1, len(broken))
    ids = [json.loads(line[line.rindex(b"{\"id"):])["id"] for line in lines if b'"id"' in line]
    same("ids", 2, len(set(ids)))
    answer = Answer(KIMI.chat(suffix="@reasoning-only"))
    same("reasoning only", ("", True, "length"),
         (answer.content, answer.reasoning != "", answer.finish))
    answer = Answer(KIMI.chat(suffix="@empty-200"))
    same("empty", ("", "", True), (answer.content, answer.reasoning, answer.done))
    same("finish", "sensitive", Answer(GLM.chat(suffix="@finish:sensitive")).finish)
    got = KIMI.chat(suffix="@json-instead-of-sse")
    same("json", ("application/json; charset=utf-8", whole),
         (got.headers["content-type"], got.json()["choices"][0]["message"]["content"]))
    got = OPENAI.chat(suffix="@error-200")
    same("error with 200", (200, True), (got.status, "error" in got.json()))


@check
def pacing():
    got = KIMI.chat(suffix="@slow:200:100")
    same("done", True, Answer(got).done)
    assert got.first_s >= 0.2, got.first_s
    assert got.whole_s >= 0.2 + 0.01 * (got.pieces - 2), (got.whole_s, got.pieces)
    same("nothing", ("timeout", 0), (lambda g: (g.end, g.status))(
        KIMI.chat(suffix="@hang", timeout=0.3)))
    got = KIMI.chat(suffix="@hang:5", timeout=2)
    same("five", ("timeout", 5), (got.end, got.pieces))
    wait = threading.Event()
    for _ in range(100):
        if KIMI.state()["open"] == 0 and KIMI.state()["chats"][-1]["ended"]:
            break
        wait.wait(0.05)
    same("ended", (0, "client-gone"), (KIMI.state()["open"], KIMI.state()["chats"][-1]["ended"]))
    released = []
    one = threading.Thread(target=lambda: released.append(KIMI.chat(suffix="@hang")))
    one.start()
    while KIMI.state()["open"] == 0:
        wait.wait(0.02)
    admin("DELETE")
    one.join()
    same("released", True, Answer(released[0]).done)
    assert KIMI.ask("GET", "/files", suffix="@delay:200").whole_s >= 0.2


@check
def scenarios_by_model_and_by_rule():
    error_of(KIMI.chat(model="kimi-k2.6@429-quota"), 429, "exceeded_current_quota_error")
    got = Answer(KIMI.chat(model="kimi-k2.6@words:2,crlf"))
    same("model", ("kimi-k2.6", "w1 w2\n"), (got.chunks[0]["model"], got.content[-6:]))
    admin("POST", value=[{"provider": "kimi", "route": "file-list", "scenario": "500", "skip": 1,
                          "times": 2}, {"scenario": "401", "account": "two"}])
    same("by rule", [200, 500, 500, 200], [KIMI.ask("GET", "/files").status for _ in range(4)])
    same("other account", 401, GLM.ask("GET", "/files", suffix="+two").status)
    same("fired", [2, 1], [rule["fired"] for rule in admin("GET")["rules"]])
    admin("DELETE")
    admin("POST", value={"scenario": "500", "chance": 50, "seed": 7})
    statuses = [KIMI.ask("GET", "/files").status for _ in range(40)]
    admin("DELETE")
    admin("POST", value={"scenario": "500", "chance": 50, "seed": 7})
    same("the same dice", statuses, [KIMI.ask("GET", "/files").status for _ in range(40)])
    assert 5 < statuses.count(500) < 35, statuses
    for wrong in ({"scenario": "none"}, {}, {"scenario": "ok", "times": -1}, {"scenario": "ok",
                  "wrong": 1}, {"provider": "x", "scenario": "ok"}, {"route": "x", "scenario": "ok"}):
        admin("POST", value=wrong, want=400)
    for wrong in ({"kimi": {"nothing": 1}}, {"kimi": {"rpm": "x"}}, {"x": {}}, {"kimi": 1},
                  {"kimi": {"language": "fr"}}, {"kimi": {"rpm": -1}}):
        admin("PUT", value=wrong, want=400)


@check
def the_switches_of_storage_hold_here_too():
    def faults(*rules):
        sse.ask(("127.0.0.1", ADMIN_PORT), "PUT", "/faults", [], json.dumps(rules).encode())

    faults({"kind": "error", "status": 503, "path": "/kimi/v1/files", "method": "POST", "times": 1})
    same("statuses", [503, 200], [KIMI.upload(b"x").status for _ in range(2)])
    faults({"kind": "reset_body", "after": 1000, "path": "/kimi/v1/files", "times": 1})
    same("reset", "reset", KIMI.upload(b"x" * 5000).end)
    faults()
    log = sse.ask(("127.0.0.1", ADMIN_PORT), "GET", "/log?counts=1").json()
    assert log["counts"]["provider-file-upload"] >= 3, log


@check
def real_limits():
    KIMI.set(rpm=2, rpm_window_s=60, retry_after=True, rate_headers=True)
    first = KIMI.ask("GET", "/files")
    same("headers", ("2", "1"), (first.headers["x-ratelimit-limit"],
                                 first.headers["x-ratelimit-remaining"]))
    KIMI.ask("GET", "/files")
    got = KIMI.ask("GET", "/files")
    message = error_of(got, 429, "rate_limit_reached_error")
    assert "please try again after" in message and 1 <= int(got.headers["retry-after"]) <= 60, got
    same("another account", 200, KIMI.ask("GET", "/files", suffix="+two").status)
    KIMI.set(rpm=0, concurrency=1)
    codes = []
    first = threading.Thread(target=lambda: codes.append(KIMI.chat(suffix="@hang:3").status))
    first.start()
    while KIMI.state()["open"] == 0:
        threading.Event().wait(0.02)
    same("meanwhile", [429] * 3, [KIMI.chat().status for _ in range(3)])
    open_max = KIMI.state()["open_max"]
    admin("DELETE")
    first.join()
    same("the first", ([200], 2), (codes, open_max))
    same("in turn", [200] * 10, [KIMI.chat().status for _ in range(10)])
    same("open", 0, KIMI.state()["open"])


@check
def many_at_once():
    def work(number):
        for i in range(5):
            row = KIMI.upload(b"%d %d" % (number, i)).json()
            assert KIMI.ask("GET", f"/files/{row['id']}/content").json()["content"] == \
                f"{number} {i}"
            assert Answer(KIMI.chat()).done
            done.append(row["id"])

    done = []
    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same("files", sorted(done), sorted(f["id"] for f in KIMI.ask("GET", "/files").json()["data"]))
    same("counts", {"file-upload": 40, "file-content": 40, "chat": 40, "file-list": 1},
         KIMI.state()["by_route"])


def reset():
    admin("DELETE", "/providers?settings=1")
    admin("DELETE", "/providers/files")
    sse.ask(("127.0.0.1", ADMIN_PORT), "DELETE", "/faults")


def run():
    failures = 0
    for function in CHECKS:
        reset()
        try:
            function()
            print(f"ok      {function.__name__}", flush=True)
        except Exception as problem:  # one line per check, whatever went wrong
            failures += 1
            line = problem.__traceback__.tb_next.tb_lineno
            print(f"FAILED  {function.__name__} (line {line}): {type(problem).__name__} {problem}",
                  flush=True)
    reset()
    print(f"{len(CHECKS)} checks, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(run())
