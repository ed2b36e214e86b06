import { InvalidError, NetworkError } from "./errors.js";

/** Why a token is asked for: its time is over, the node does not take it, or its time is over soon. */
export type TokenReason = "expired" | "refused" | "soon";

/** Where tokens come from. */
export interface TokenSource {
  /** A credential, or what returns one: called when the first is needed, and where there is no onTokenExpired for each new one. */
  token?: string | (() => string | Promise<string>) | undefined;
  /** Returns a new token. Called once at a time, whatever needs it: all topics and requests of a client wait for the one answer. */
  onTokenExpired?: ((why: TokenReason) => string | Promise<string>) | undefined;
}

/** The credential of a client, and its renewal. */
export interface Auth {
  /** get returns the token to send now; undefined: none. */
  get(): Promise<string | undefined>;
  /** renew returns a token that is not `old`; undefined when there is no way to get one. */
  renew(old: string | undefined, why: TokenReason): Promise<string> | undefined;
  /** forget asks for a token anew the next time, where one that was asked for has not come. */
  forget(): void;
}

/** isToken reports whether a value can be sent as a credential. */
const isToken = (value: unknown): value is string => typeof value === "string" && /^[!-~]+$/.test(value);

/** createAuth keeps the token of a client. It throws an InvalidError for one that cannot be sent. */
export function createAuth({ token, onTokenExpired }: TokenSource): Auth {
  const first = typeof token === "function" ? token : undefined;
  let current = first ? undefined : (token as string | undefined);
  let flight: Promise<string> | undefined;
  if (current && !isToken(current)) throw new InvalidError("a token has no spaces or line breaks");

  const fly = (source: () => string | Promise<string>): Promise<string> => {
    if (flight) return flight;
    flight = Promise.resolve()
      .then(source)
      .then((fresh) => {
        // The page of an error, say; what it is stays out of messages.
        if (!isToken(fresh)) throw new NetworkError("token", "the token function returned no token");
        return (current = fresh);
      })
      .finally(() => (flight = undefined));
    flight.catch(() => {}); // told to those that need the token; there may be none any more
    return flight;
  };

  return {
    get: async () => flight ?? current ?? (first && fly(first)),
    renew(old, why) {
      if (old !== current && current !== undefined) return Promise.resolve(current); // another request has renewed it
      const source = onTokenExpired ? () => onTokenExpired(why) : first;
      return source && fly(source);
    },
    forget: () => (flight = undefined),
  };
}

/** claims returns the payload of a subscriber token, which is not verified; undefined for other credentials. */
export function claims(token: string | undefined): { iat?: number; exp?: number; sub?: string; topics?: string[] } | undefined {
  try {
    return JSON.parse(atob(token!.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/")));
  } catch {
    return undefined;
  }
}

/**
 * renewIn returns the milliseconds after which a token that has just come is to be renewed: a tenth of its life before its
 * end. 0: not known. The clock of a board and that of its reader may differ: neither is trusted for more than to be sooner.
 */
export function renewIn(token: string | undefined, now = Date.now()): number {
  const { iat, exp } = claims(token) ?? {};
  if (!iat || !exp) return 0;
  const tenth = (exp - iat) * 100; // ms
  return Math.max(0, Math.min(tenth * 9, exp * 1000 - tenth - now));
}
