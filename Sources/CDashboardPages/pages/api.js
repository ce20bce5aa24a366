// Requests to the dashboard's API. An error has the sentence of the server, or says what kept it from answering.

export class ApiError extends Error {
  constructor(code, message, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

async function request(path, options, timeoutMs) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(timeoutMs), ...options });
  } catch (error) {
    const late = error.name === "TimeoutError";
    throw new ApiError("unreachable", late ? `the dashboard gave no answer within ${timeoutMs / 1000} s`
      : "the dashboard can't be reached", 0);
  }
  let body = null;
  try {
    body = await response.json();
  } catch {
    throw new ApiError("garbage", `the dashboard's answer (status ${response.status}) isn't JSON`, response.status);
  }
  if (!response.ok) {
    const error = body && typeof body === "object" && body.error ? body.error : {};
    throw new ApiError(String(error.code ?? "error"), String(error.message ?? `status ${response.status}`), response.status);
  }
  return body;
}

export function get(path, settings = {}, timeoutMs = 10000) {
  const query = new URLSearchParams(settings).toString();
  return request(query ? `${path}?${query}` : path, {}, timeoutMs);
}

export function moveShard(shardId, groupId) {
  return request("/api/actions/move", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Flotilla-Action": "move" },
    body: JSON.stringify({ shardId, groupId }),
  }, 30000);
}
