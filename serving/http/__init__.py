"""The HTTP face: routes, requests, problem documents, API keys, the request log, traces and the OpenAPI description."""
