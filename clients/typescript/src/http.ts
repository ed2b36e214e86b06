import type * as api from "./api.js";
import type { Auth } from "./auth.js";
import { asError, AuthError, InvalidError, StatusError } from "./errors.js";

/** What requests of a client have in common. */
export interface Http {
  /** The node, without a slash at the end. */
  readonly base: string;
  readonly auth: Auth;
  readonly fetch: typeof fetch;
  readonly init: RequestInit | undefined;
}

/** segment returns a name as a part of a path. Nothing can write `.` and `..` there, which are steps to other paths, nor half a character. */
export function segment(name: string): string {
  if (/^\.\.?$|[\ud800-\udfff]/u.test(name)) throw new InvalidError("'" + name + "' cannot be in a path", undefined, name);
  return encodeURIComponent(name);
}

/** jsonOf returns a value as JSON, null where it has none. It throws an InvalidError for what cannot be: a BigInt, a circle. */
export function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? "null";
  } catch (thrown) {
    throw new InvalidError("" + thrown, thrown, value);
  }
}

/** refusalOf returns the error that an answer is: the node's problem document, where it has one. */
export async function refusalOf(res: Response): Promise<StatusError> {
  const { status } = res;
  const problem: Partial<api.Problem> = (await res.json().catch(() => undefined)) ?? {}; // else of a proxy
  const told = res.headers.get("Retry-After")!; // seconds, or, from a proxy, a time
  const seconds = parseInt(told);
  const after = seconds >= 0 ? seconds : Math.ceil((Date.parse(told) - Date.now()) / 1000);
  const error = new StatusError(
    ("" + (problem.type ?? "status-" + status)).replace("urn:picloud:problem:", ""),
    "" + (problem.detail ?? problem.title ?? "status " + status),
    status < 500 && status !== 408 && status !== 429,
    status,
    after >= 0 ? after : undefined,
  );
  if (problem.topic) error.topic = problem.topic;
  error.body = problem;
  return error;
}

/**
 * send sends a request and returns the successful answer, with the token that it was sent with. A token that is refused is renewed and the
 * request sent again: what is refused has not been done. Two new ones that are refused are an AuthError; any other refusal is thrown as it is.
 */
export async function send(http: Http, path: string, init: RequestInit): Promise<[Response, string | undefined]> {
  const { base, auth, fetch } = http;
  for (let renewals = 0; ; renewals++) {
    const token = await auth.get();
    const headers = new Headers(http.init?.headers);
    new Headers(init.headers).forEach((value, name) => headers.set(name, value));
    if (token) headers.set("Authorization", "Bearer " + token);
    let res: Response;
    try {
      res = await fetch(base + path, { ...http.init, ...init, headers });
    } catch (thrown) {
      throw asError(thrown, base || "the page's host", base ? !/^(https?:\/)?\//.test(base) : typeof location !== "object");
    }
    if (res.ok) return [res, token];
    const error = await refusalOf(res);
    if (res.status !== 401) throw error;
    const renewed = renewals < 2 && auth.renew(token, "refused");
    if (!renewed) throw new AuthError(error.type, error.detail, true, 401);
    await renewed;
  }
}
