import { asError } from "./errors.js";

/** load imports the module of streams, which is a separate file; scripts/build.mjs bundles it into the single-file builds. */
export const load = (): Promise<typeof import("./streaming.js")> =>
  import("./streaming.js").catch((thrown) => {
    throw asError(thrown);
  });
