/** load returns what makes streams: a file of its own, which is loaded here, but where scripts/build.mjs makes one file of all. */
export const load = (): Promise<typeof import("./streaming.js")> => import("./streaming.js");
