import type * as api from "./api.js";
import type { Auth } from "./auth.js";
import { asError, AuthError, StatusError, TimeoutError } from "./errors.js";

/** What requests of a client have in common. */
export interface Http {
  /** The node, without a slash at the end. */
  readonly base: string;
  readonly auth: Auth;
  readonly fetch: typeof fetch;
  readonly init: RequestInit | undefined;
}

/** requestOf joins what all requests of a client carry and what one of them adds. */
export function requestOf(http: Http, token: string | undefined, init: RequestInit): RequestInit {
  const headers = new Headers(http.init?.headers);
  new Headers(init.headers).forEach((value, name) => headers.set(name, value));
  if (token) headers.set("Authorization", "Bearer " + token);
  return { ...http.init, ...init, headers };
}

/** refusalOf returns the error that an answer is: the node's problem document, where it has one. */
export async function refusalOf(res: Response): Promise<StatusError> {
  const { status } = res;
  let problem: Partial<api.Problem> = {};
  try {
    problem = (await res.json()) ?? problem;
  } catch {
    // An answer of something between here and the node.
  }
  const after = parseInt(res.headers.get("Retry-After") ?? "", 10);
  const error = new StatusError(
    ("" + (problem.type ?? "status-" + status)).replace("urn:picloud:problem:", ""),
    "" + (problem.detail ?? problem.title ?? "the node answers with status " + status),
    status < 500 && status !== 408 && status !== 429,
    status,
    after >= 0 ? after : undefined,
  );
  if (problem.topic) error.topic = problem.topic;
  error.body = problem;
  return error;
}

/** What a single request may be told. */
export interface CallOptions {
  /** Ends the request; it is then not certain whether it took effect. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until a TimeoutError; none: as long as it takes. */
  timeout?: number | undefined;
}

/**
 * call sends a request and returns the body of its answer, if that is a success: a value where it is JSON, undefined where
 * it is empty, else text. A credential that is refused is renewed and the request sent again, once: what is refused has not
 * been done. An abort by the caller is thrown as the caller's reason.
 */
export async function call<T>(http: Http, path: string, init: RequestInit, { signal, timeout }: CallOptions = {}): Promise<T> {
  const abort = new AbortController();
  const onAbort = (): void => abort.abort(signal!.reason);
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort);
  const timer = timeout && setTimeout(() => abort.abort(new TimeoutError("no answer in " + timeout + " ms")), timeout);
  try {
    let token = await http.auth.get();
    for (let again = false; ; again = true) {
      const res = await http.fetch.call(undefined, http.base + path, requestOf(http, token, { ...init, signal: abort.signal }));
      if (res.ok) {
        const text = await res.text();
        return text && res.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : ((text || undefined) as T);
      }
      const error = await refusalOf(res);
      if (error.status !== 401) throw error;
      const renewed = again ? undefined : http.auth.renew(token, "refused");
      if (!renewed) throw new AuthError(error.type, error.detail, true, 401);
      token = await renewed;
    }
  } catch (thrown) {
    if (abort.signal.aborted) throw abort.signal.reason ?? thrown;
    throw asError(thrown);
  } finally {
    clearTimeout(timer as number);
    signal?.removeEventListener("abort", onAbort);
  }
}
