const shortest = 1000;
const longest = 30_000;
const most = 24 * 3600_000; // whatever the other side asks for

/**
 * delay returns the milliseconds to wait before a stream is opened again: full jitter below 1, 2, 4 … 30 s, so that clients
 * come back spread after a restart, but never sooner than the node asks for, up to a day.
 *
 * @param attempt how many have failed in a row, from 0
 * @param retry milliseconds from the stream's `retry:`, which the node has spread already
 * @param retryAfter seconds from the header of a refusal; the same for many, hence spread over one more second
 */
export function delay(attempt: number, retry?: number, retryAfter?: number, random = Math.random): number {
  if (retryAfter !== undefined) return Math.min(most, retryAfter * 1000) + random() * shortest;
  const least = Math.min(most, retry ?? 0);
  if (retry !== undefined && !attempt) return least;
  return Math.max(least, random() * Math.min(longest, shortest * 2 ** attempt));
}
