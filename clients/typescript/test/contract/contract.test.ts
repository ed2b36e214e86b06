import { picloud } from "./picloud.js";
import { play } from "./play.js";

// CL-2, CL-3: the client against a server that does all that servers, proxies and networks do to a stream.
play(picloud);
