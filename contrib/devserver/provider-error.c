/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "provider-internal.h"
#include "reply.h"

/* Ids in messages, which clients are to keep to themselves. */
#define ORG "org-5f1c0d9e7b6a4d3c8e2f <ak-f0e1d2c3b4a5968778695a4b3c2d1e0f>"

/* In each message {} is what there is to say of the case; `usual` when nothing is. */

static const struct {
    int status;
    const char *type, *message, *usual;
} kimi[DS_PERRORS] = {
    [DS_PE_NO_KEY] = {401, "invalid_authentication_error", "Invalid Authentication", ""},
    [DS_PE_KEY] = {401, "incorrect_api_key_error", "Incorrect API key provided", ""},
    [DS_PE_PERMISSION] = {403, "permission_denied_error", "The API you are accessing is not open",
                          ""},
    [DS_PE_BALANCE] = {403, "permission_denied_error",
                       "Your account " ORG " has insufficient balance", ""},
    [DS_PE_QUOTA] = {429, "exceeded_current_quota_error",
                     "Your account " ORG " is suspended due to insufficient balance, please "
                     "recharge your account or check your plan and billing details",
                     ""},
    [DS_PE_RPM] = {429, "rate_limit_reached_error",
                   "Your account " ORG " request reached organization max RPM: 3, please try "
                   "again after {} seconds",
                   "1"},
    [DS_PE_TPM] = {429, "rate_limit_reached_error",
                   "Your account " ORG " request reached organization TPM rate limit, current: "
                   "512000, limit: 500000",
                   ""},
    [DS_PE_TPD] = {429, "rate_limit_reached_error",
                   "Your account " ORG " request reached organization TPD rate limit, current: "
                   "1526210, limit: 1500000",
                   ""},
    [DS_PE_CONCURRENCY] = {429, "rate_limit_reached_error",
                           "Your account " ORG " request reached organization max concurrency: "
                           "{}, please try again after 1 seconds",
                           "1"},
    [DS_PE_OVERLOADED] = {429, "engine_overloaded_error",
                          "The engine is currently overloaded, please try again later", ""},
    [DS_PE_SERVER] = {500, "unexpected_output", "invalid state transition", ""},
    [DS_PE_EXTRACT] = {500, "server_error", "Failed to extract file: {}", "no text in it"},
    [DS_PE_TOO_LARGE] = {400, "invalid_request_error",
                         "File size is too large, max file size is {}, please confirm and "
                         "re-upload the file",
                         "100MB"},
    [DS_PE_EMPTY] = {400, "invalid_request_error",
                     "File size is zero, please confirm and re-upload the file", ""},
    [DS_PE_PURPOSE] = {400, "invalid_request_error",
                       "Invalid purpose: only 'file-extract' accepted", ""},
    [DS_PE_COUNT] = {400, "invalid_request_error",
                     "The number of files you have uploaded exceeded the max file count {}, "
                     "please delete previous uploaded files",
                     "1000"},
    [DS_PE_TOTAL] = {400, "invalid_request_error", "{}", "Too many bytes"},
    [DS_PE_TYPE] = {400, "invalid_request_error", "Invalid request: unsupported file type: {}",
                    "of that name"},
    [DS_PE_NOT_FOUND] = {404, "resource_not_found_error", "Not found the file {}", ""},
    [DS_PE_MODEL] = {404, "resource_not_found_error", "Not found the model {} or Permission denied",
                     "kimi-k2-0905-preview"},
    [DS_PE_CONTEXT] = {400, "invalid_request_error",
                       "Invalid request: Your request exceeded model token limit: {}",
                       "262144 (requested: 269030)"},
    [DS_PE_BODY_SIZE] = {400, "invalid_request_error", "Invalid request: total message size {}",
                         "exceeds the limit"},
    [DS_PE_FILTER] = {400, "content_filter",
                      "The request was rejected because it was considered high risk", ""},
    [DS_PE_INVALID] = {400, "invalid_request_error", "Invalid request: {}", "bad parameter"},
    [DS_PE_LOADING] = {503, "server_error", "The service is starting", ""},
};

static const struct {
    int status;
    const char *code, *message, *usual, *zh;
} glm[DS_PERRORS] = {
    [DS_PE_NO_KEY] = {401, "1001", "Authentication parameter not received in Header", "",
                      "Header中未收到Authorization参数,无法进行身份验证。"},
    [DS_PE_KEY] = {401, "1002", "Authentication Token illegal", "", "Authorization Token非法"},
    [DS_PE_PERMISSION] = {434, "1220", "You do not have permission to access {}", "this API",
                          "您无权访问{}。"},
    [DS_PE_BALANCE] = {403, "1113", "Insufficient balance or no resource package. Please recharge.",
                       "", "余额不足或无可用资源包,请充值。"},
    [DS_PE_QUOTA] = {429, "1113", "Insufficient balance or no resource package. Please recharge.",
                     "", "余额不足或无可用资源包,请充值。"},
    [DS_PE_RPM] = {429, "1303", "API call frequency is too high, please slow down", "",
                   "当前API请求频率过高,请控制频率。"},
    [DS_PE_TPM] = {429, "1305", "The API has triggered the traffic limit", "",
                   "当前API请求过多,请稍后重试。"},
    [DS_PE_TPD] = {429, "1304", "The API has reached the daily call limit", "",
                   "当前API今日调用次数达到上限。"},
    [DS_PE_CONCURRENCY] = {429, "1302", "High concurrency usage of this API, please reduce it", "",
                           "当前API请求并发数过高,请降低并发。"},
    [DS_PE_OVERLOADED] = {429, "1312", "This model is busy, please try again later", "",
                          "该模型当前访问量过大,请稍后再试。"},
    [DS_PE_SERVER] = {500, "500", "Internal server error", "", "内部错误"},
    [DS_PE_EXTRACT] = {500, "1230", "API call process error: {}", "no text in it",
                       "API 调用流程出错:{}"},
    [DS_PE_TOO_LARGE] = {435, "1214", "File size exceeds the limit of {}", "20MB",
                         "文件大小超过{}"},
    [DS_PE_EMPTY] = {400, "1214", "The file is empty", "", "文件为空"},
    [DS_PE_PURPOSE] = {400, "1214", "Invalid API parameter purpose: {}", "?",
                       "API 调用参数有误:purpose {}"},
    [DS_PE_COUNT] = {400, "1214", "The number of files exceeds {}", "1000", "文件数量超过{}"},
    [DS_PE_TOTAL] = {400, "1214", "{}", "Too many bytes", "{}"},
    [DS_PE_TYPE] = {400, "1214", "File type not supported: {}", "of that name",
                    "不支持的文件类型:{}"},
    [DS_PE_NOT_FOUND] = {404, "404", "File {} does not exist", "", "文件{}不存在"},
    [DS_PE_NO_ROUTE] = {404, "1222", "API {} does not exist", "", "API {} 不存在"},
    [DS_PE_MODEL] = {400, "1211", "Unknown Model, please check the model code.", "",
                     "模型不存在,请检查模型代码。"},
    [DS_PE_CONTEXT] = {400, "1261", "Prompt exceeds max length", "", "Prompt 超长"},
    [DS_PE_BODY_SIZE] = {400, "1261", "Prompt exceeds max length", "", "Prompt 超长"},
    [DS_PE_FILTER] = {400, "1301",
                      "System detected potentially unsafe or sensitive content in input or "
                      "generation",
                      "", "系统检测到输入或生成内容可能包含不安全或敏感内容。"},
    [DS_PE_INVALID] = {400, "1210", "API call parameter error: {}", "bad parameter",
                       "API 调用参数有误,请检查文档。{}"},
    [DS_PE_LOADING] = {503, "1120", "The service is temporarily unavailable", "",
                       "无法成功访问您的账户,请稍后重试。"},
};

static const struct {
    int status;
    const char *type, *code, *message, *usual;
} openai[DS_PERRORS] = {
    [DS_PE_NO_KEY] = {401, "invalid_request_error", NULL, "You didn't provide an API key", ""},
    [DS_PE_KEY] = {401, "invalid_request_error", "invalid_api_key",
                   "Incorrect API key provided: sk-ope****", ""},
    [DS_PE_PERMISSION] = {403, "invalid_request_error", "unsupported_country_region_territory",
                          "Country, region, or territory not supported", ""},
    [DS_PE_BALANCE] = {403, "insufficient_quota", "insufficient_quota",
                       "Your organization " ORG " has no balance", ""},
    [DS_PE_QUOTA] = {429, "insufficient_quota", "insufficient_quota",
                     "You exceeded your current quota, please check your plan and billing details",
                     ""},
    [DS_PE_RPM] = {429, "requests", "rate_limit_exceeded",
                   "Rate limit reached in organization " ORG " on requests per min (RPM): Limit "
                   "3, Used 3, Requested 1. Please try again in {}s.",
                   "1"},
    [DS_PE_TPM] = {429, "tokens", "rate_limit_exceeded",
                   "Rate limit reached in organization " ORG " on tokens per min (TPM): Limit "
                   "30000. Please try again in 6ms.",
                   ""},
    [DS_PE_TPD] = {429, "requests", "rate_limit_exceeded",
                   "Rate limit reached in organization " ORG " on requests per day (RPD): Limit "
                   "200. Please try again in 7m12s.",
                   ""},
    [DS_PE_CONCURRENCY] = {429, "requests", "rate_limit_exceeded", "Too many requests at once: {}",
                           "1"},
    [DS_PE_OVERLOADED] = {503, "server_error", NULL,
                          "The engine is currently overloaded, please try again later", ""},
    [DS_PE_SERVER] = {500, "server_error", NULL, "The server had an error", ""},
    [DS_PE_EXTRACT] = {500, "server_error", NULL, "The file could not be processed: {}",
                       "no text in it"},
    [DS_PE_TOO_LARGE] = {413, "invalid_request_error", NULL, "The file is larger than {}", "512MB"},
    [DS_PE_EMPTY] = {400, "invalid_request_error", NULL, "File is empty.", ""},
    [DS_PE_PURPOSE] = {400, "invalid_request_error", NULL, "'{}' is not one of the purposes", "?"},
    [DS_PE_COUNT] = {400, "invalid_request_error", NULL, "More than {} files", "1000"},
    [DS_PE_TOTAL] = {400, "invalid_request_error", NULL, "{}", "Too many bytes"},
    [DS_PE_TYPE] = {400, "invalid_request_error", "unsupported_file", "Invalid file format: {}",
                    "of that name"},
    [DS_PE_NOT_FOUND] = {404, "invalid_request_error", NULL, "No such File object: {}", ""},
    [DS_PE_NO_ROUTE] = {404, "invalid_request_error", "unknown_url", "Invalid URL ({})", ""},
    [DS_PE_MODEL] = {404, "invalid_request_error", "model_not_found",
                     "The model `{}` does not exist or you do not have access to it.", "?"},
    [DS_PE_CONTEXT] = {400, "invalid_request_error", "context_length_exceeded",
                       "This model's maximum context length is {}", "131072 tokens"},
    [DS_PE_BODY_SIZE] = {413, "invalid_request_error", NULL, "The body is too large: {}", ""},
    [DS_PE_FILTER] = {400, "invalid_request_error", "content_policy_violation",
                      "Your request was rejected by our safety system", ""},
    [DS_PE_INVALID] = {400, "invalid_request_error", NULL, "{}", "Invalid request"},
    [DS_PE_LOADING] = {503, "unavailable_error", NULL, "Loading model", ""},
};

/* The message with its {} filled in. */
static char *
fill(const char *message, const char *detail)
{
    const char *hole = strstr(message, "{}");
    char *text = NULL;
    int n = hole ? asprintf(&text, "%.*s%s%s", (int)(hole - message), message, detail, hole + 2)
                 : asprintf(&text, "%s", message);
    return n < 0 ? NULL : text;
}

/* {"code":5,"error":"url.not_found",...}: of the gateway, not of the service behind it. */
static void
gateway_body(const struct ds_request *req, struct ds_buf *out)
{
    ds_buf_adds(out, "{\"code\":5,\"error\":\"url.not_found\",\"message\":");
    ds_buf_add_json(out, "The requested URL was not found");
    ds_buf_adds(out, ",\"method\":");
    ds_buf_add_json(out, req->method);
    ds_buf_adds(out, ",\"scode\":\"0x5\",\"status\":false,\"ua\":\"\",\"url\":");
    ds_buf_add_json(out, req->path + strlen(req->provider->site->base) - 3);
    ds_buf_adds(out, "}");
}

static bool
wants_english(const struct ds_request *req)
{
    const struct ds_provider_call *call = req->provider;
    const char *accept = ds_request_header(req, "accept-language");
    if (!ds_set_is(call, "language", "auto"))
        return ds_set_is(call, "language", "en");
    return call->index == DS_PROVIDER_ZAI || (accept && strncasecmp(accept, "en", 2) == 0);
}

static json_t *
kimi_body(enum ds_perror error, const char *detail)
{
    sf_autofree char *message = fill(kimi[error].message, detail ? detail : kimi[error].usual);
    return json_pack("{s:{s:s, s:s*}}", "error", "type", kimi[error].type, "message", message);
}

static json_t *
glm_code_body(const struct ds_request *req, const char *code, const char *message)
{
    bool number = ds_set_bool(req->provider, "int_codes");
    json_t *value = number ? json_integer(strtoll(code, NULL, 10)) : json_string(code);
    return json_pack("{s:{s:o, s:s*}}", "error", "code", value, "message", message);
}

static json_t *
glm_body(const struct ds_request *req, enum ds_perror error, const char *detail)
{
    const char *text = wants_english(req) ? glm[error].message : glm[error].zh;
    sf_autofree char *message = fill(text, detail ? detail : glm[error].usual);
    return glm_code_body(req, glm[error].code, message);
}

/* What the servers that one runs oneself say: each in its own shape. */
static json_t *
generic_body(const struct ds_provider_call *call, enum ds_perror error, const char *detail)
{
    sf_autofree char *message = fill(openai[error].message, detail ? detail : openai[error].usual);
    int status = openai[error].status;
    const char *type = openai[error].type;
    switch (call->flavour) {
    case DS_FLAVOUR_OLLAMA:
        type = status == 400   ? "invalid_request_error"
               : status == 404 ? "not_found_error"
                               : "api_error";
        return json_pack("{s:{s:s*, s:s, s:n, s:n}}", "error", "message", message, "type", type,
                         "param", "code");
    case DS_FLAVOUR_LLAMACPP:
        if (error == DS_PE_CONTEXT)
            return json_pack("{s:{s:i, s:s, s:s, s:i, s:i}}", "error", "code", status, "message",
                             "the request exceeds the available context size. try increasing the "
                             "context size or enable context shift",
                             "type", "exceed_context_size_error", "n_prompt_tokens", 9000, "n_ctx",
                             4096);
        return json_pack("{s:{s:i, s:s*, s:s}}", "error", "code", status, "message", message,
                         "type", type);
    case DS_FLAVOUR_VLLM:
        if (ds_set_bool(call, "flat_errors"))
            return json_pack("{s:s, s:s*, s:s, s:n, s:i}", "object", "error", "message", message,
                             "type", "BadRequestError", "param", "code", status);
        return json_pack("{s:{s:s*, s:s, s:n, s:i}}", "error", "message", message, "type",
                         "BadRequestError", "param", "code", status);
    case DS_FLAVOUR_LMSTUDIO:
        return json_pack("{s:s*}", "error", message);
    default:
        return json_pack("{s:{s:s*, s:s, s:n, s:s?}}", "error", "message", message, "type", type,
                         "param", "code", openai[error].code);
    }
}

/* The status; 0 = the flavour has no body of its own for it. */
static int
no_route_body(const struct ds_request *req, struct ds_buf *out)
{
    switch (req->provider->flavour) {
    case DS_FLAVOUR_KIMI:
        gateway_body(req, out);
        return 404;
    case DS_FLAVOUR_OLLAMA:
        ds_buf_adds(out, "404 page not found");
        return 404;
    case DS_FLAVOUR_LLAMACPP:
        ds_buf_adds(out, "{\"error\":{\"code\":404,\"message\":\"File Not Found\",\"type\":"
                         "\"not_found_error\"}}");
        return 404;
    case DS_FLAVOUR_VLLM:
        ds_buf_adds(out, "{\"detail\":\"Not Found\"}");
        return 404;
    case DS_FLAVOUR_LMSTUDIO:
        ds_buf_adds(out, "{\"error\":\"Unexpected endpoint or method.\"}");
        return 200;
    default:
        return 0;
    }
}

int
ds_perror_body(const struct ds_request *req, enum ds_perror error, const char *detail,
               struct ds_buf *out)
{
    const struct ds_provider_call *call = req->provider;
    int status = error == DS_PE_NO_ROUTE ? no_route_body(req, out) : 0;
    if (status != 0)
        return status;
    if (error == DS_PE_NOT_FOUND && ds_set_is(call, "not_found", "gateway")) {
        gateway_body(req, out);
        return 404;
    }
    if (error == DS_PE_NOT_FOUND && ds_set_is(call, "not_found", "invalid"))
        error = DS_PE_INVALID;
    if (error == DS_PE_TOTAL)
        detail = ds_set_text(call, "total_message");
    status = call->flavour == DS_FLAVOUR_KIMI  ? kimi[error].status
             : call->flavour == DS_FLAVOUR_GLM ? glm[error].status
                                               : openai[error].status;
    if (error == DS_PE_TOO_LARGE)
        status = (int)ds_set_number(call, "too_large_status");
    ds_autojson *body = call->flavour == DS_FLAVOUR_KIMI  ? kimi_body(error, detail)
                        : call->flavour == DS_FLAVOUR_GLM ? glm_body(req, error, detail)
                                                          : generic_body(call, error, detail);
    sf_autofree char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    ds_buf_adds(out, text ? text : "");
    return status;
}

void
ds_perror(struct ds_request *req, enum ds_perror error, const char *detail)
{
    ds_autobuf out = DS_BUF_INIT;
    int status = ds_perror_body(req, error, detail, &out);
    const char *text = out.data ? out.data : "";
    ds_reply_text(req, status, *text == '{' ? "application/json; charset=utf-8" : "text/plain",
                  text);
    bool limited = error == DS_PE_RPM || error == DS_PE_CONCURRENCY;
    if (limited && ds_set_bool(req->provider, "retry_after"))
        ds_reply_header(req, "retry-after", error == DS_PE_RPM && detail ? detail : "1");
}

void
ds_perrorf(struct ds_request *req, enum ds_perror error, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = NULL;
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    ds_perror(req, error, n < 0 ? NULL : text);
    if (n >= 0)
        free(text);
}

void
ds_perror_code(struct ds_request *req, int64_t code, int64_t status)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)code);
    const char *message = code == 1308 ? "Usage limit reached, your limit will reset at "
                                         "2026-12-01 00:00:00"
                                       : "An error with this code";
    ds_provider_reply(req, status < 0 ? 429 : (int)status, glm_code_body(req, text, message));
}

void
ds_perror_gateway(struct ds_request *req)
{
    ds_autobuf out = DS_BUF_INIT;
    gateway_body(req, &out);
    ds_reply_json(req, 404, &out);
}
