import { asError } from "./errors.js";

/** load imports the module of streams, which is a file of its own; in the single file of scripts/build.mjs it is a part of that. */
export const load = (): Promise<typeof import("./streaming.js")> =>
  import("./streaming.js").catch((thrown) => {
    throw asError(thrown);
  });
