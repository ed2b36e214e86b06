import type { PicloudError } from "./errors.js";
import type { StateName } from "./machine.js";

/** What a link knows of itself. */
export interface LinkState {
  readonly name: StateName;
  /** When it began, in milliseconds since 1970. */
  readonly since: number;
  /** How many attempts have failed in a row. */
  readonly attempt: number;
  /** With an error: when the next attempt is due, in milliseconds since 1970. */
  readonly retryAt?: number;
  /** Why the stream is not open, or not yet with all topics. */
  readonly error?: PicloudError;
}

/** What a client is doing. */
export interface State extends LinkState {
  /** Whether newer events may be missing, because the stream is not open. */
  readonly stale: boolean;
  /** Whether the stream is this client's own, and not another tab's. */
  readonly leader: boolean;
}

/** stateOf returns the state that begins now. */
export function stateOf(name: StateName, leader: boolean, more?: Partial<LinkState>): State {
  return { name, since: Date.now(), attempt: 0, stale: name !== "open", leader, ...more };
}
