/**
 * `@picloud/client/server`: what a server does for its pages. It holds an API key, which must never reach a browser.
 *
 * @packageDocumentation
 */
import type * as api from "./api.js";
import { createAuth } from "./auth.js";
import { ask, type CallOptions } from "./call.js";
import { segment } from "./http.js";

/** What a token is to be good for. */
export interface MintOptions extends CallOptions {
  /** The node. */
  url: string;
  app: string;
  /** An API key with the scope app:publish. */
  key: string;
  /** What its owner may read; registered topics. */
  topics: readonly string[];
  /** Seconds that it is good for: 10 to 86400. */
  ttl?: number | undefined;
  fetch?: typeof fetch | undefined;
}

/** A token for readers of topics. */
export interface MintedToken {
  readonly token: string;
  readonly expiresAt: Date;
  readonly topics: readonly string[];
}

/** mintToken asks the node for a token that lets its owner read topics of an app. */
export async function mintToken({ url, app, key, topics, ttl, fetch: fetcher = fetch, ...options }: MintOptions): Promise<MintedToken> {
  const http = { base: url.replace(/\/$/, ""), auth: createAuth({ token: key }), fetch: fetcher, init: undefined };
  const body: api.NewToken = { topics: [...topics], ...(ttl && { ttl_sec: ttl }) };
  const init = { method: "POST", body: JSON.stringify(body) };
  const answer = await ask<api.Token>(http, "/v1/apps/" + segment(app) + "/subscriber-tokens", init, options, (minted) => minted.token);
  return { token: answer.token, expiresAt: new Date(answer.expires_at!), topics: answer.topics };
}
