import type { ClientOptions, ClientEvents } from "./client.js";
import type { Emitter } from "./emitter.js";
import type { Http } from "./http.js";
import type { State } from "./state.js";
import type { Reader } from "./topic.js";

/** What a client and its stream have in common: the stream is loaded when the first topic is read. */
export interface Core extends Pick<Emitter<ClientEvents>, "emit"> {
  readonly options: ClientOptions;
  readonly http: Http;
  /** The path of the app. */
  readonly path: string;
  /** The topics that are read. */
  readonly readers: Set<Reader>;
  state: State;
  /** The id that the stream resumes after. */
  cursor: string | null;
  /** changed makes a state that of the client, and tells it. Where it has several streams `told` is that of the one that has changed, and `readers` are its. */
  changed(state: State, told?: State, readers?: Set<Reader>): void;
}
