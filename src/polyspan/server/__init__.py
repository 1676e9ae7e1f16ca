"""Answers over HTTP, and a page to ask on.

The way of a request: `shell` (hosts, headers, one log line) → `api` (key, body, limits) → `batching`
(queue, batches across requests) → `Answerer`, in one thread of its own.
"""
