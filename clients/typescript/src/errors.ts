/** PicloudError is every failure that this package tells. `type` says which in a stable word, `detail` what to do now. */
export class PicloudError extends Error {
  /** The error below, such as that of `fetch`. */
  override cause?: unknown;

  constructor(
    /** A stable word: of the node's problem documents (`topic-not-found`), or of this package (`network`, `no-node`, `timeout`, `stream`, `invalid`, `token`, `closed`). */
    readonly type: string,
    /** The cause and the remedy. */
    readonly detail: string,
    /** Whether trying again is useless: a stream ends with such an error. */
    readonly fatal = false,
    /** The status of the node's answer, if there was one. */
    readonly status?: number,
    /** Seconds after which the node says that it may be asked again. */
    readonly retryAfter?: number,
  ) {
    super(detail);
  }
}

/** StatusError: the node refuses the request, or cannot do it now. */
export class StatusError extends PicloudError {
  /** The body of the answer, where it is JSON; scripts define their own. */
  body?: unknown;
  /** The topic that is refused, where several were asked for. */
  topic?: string;
}

/** AuthError: the credential is refused, and there is no other one. Fatal. */
export class AuthError extends PicloudError {}

/** NetworkError: the node cannot be reached, or the connection broke. */
export class NetworkError extends PicloudError {}

/** StreamError: the response is no event stream of a node. */
export class StreamError extends PicloudError {}

/** TimeoutError: nothing came in time. */
export class TimeoutError extends PicloudError {}

/** InvalidError: a value that does not pass its validator. */
export class InvalidError extends PicloudError {
  constructor(
    detail: string,
    /** What the validator says, as it says it. */
    readonly issues?: unknown,
    /** The value that did not pass. */
    readonly value?: unknown,
  ) {
    super("invalid", detail, true);
  }
}

for (const [name, kind] of Object.entries({ PicloudError, StatusError, AuthError, NetworkError, StreamError, TimeoutError, InvalidError })) {
  kind.prototype.name = name; // that of the class may be shortened by a bundler
}

/**
 * asError returns a PicloudError as it is; any other error comes from the network, and becomes the cause of a NetworkError.
 *
 * @param url of the node that has not answered
 * @param fatal whether it can be that of no node
 */
export function asError(thrown: unknown, url?: string, fatal?: boolean): PicloudError {
  if (thrown instanceof PicloudError) return thrown;
  const { message = "" + thrown, cause } = Object(thrown) as { message?: string; cause?: { message?: string; code?: string } };
  let detail = [message, cause?.message || cause?.code].filter(Boolean).join(": "); // Node.js has the reason in the cause alone
  if (url) detail = `no answer from ${url} (${detail}): check the url (http://pi.local:7420), the node and its allowed_origins`;
  const error = new NetworkError("network", detail, fatal);
  error.cause = thrown;
  return error;
}
