/** What each client does otherwise than the scenario of that name wants it. */
export const known: Record<string, Record<string, string>> = {
  "@picloud/client": {
    "an empty id forgets the one before": "a cursor is never given up, since events would be lost (docs/protocol.md, Coming back)",
  },
  "eventsource": {
    "an event that a lone CR ends is told at once": "it waits for what comes after the CR, and loses the event when the connection breaks",
    "a block of more than 4 MiB is not kept": "it keeps what comes, without a limit",
    "an id without data counts": "it resumes after an older event",
    "429 is tried again after 0 s, which Retry-After says": "each refusal is the end, as the standard has it",
    "500 is tried again after 0 s, which Retry-After says": "as above",
    "503 is tried again after 1 s, which Retry-After says": "as above",
  },
  "@microsoft/fetch-event-source": {
    "a byte order mark counts at the beginning alone": "it is removed from each line",
    "comments, also inside of an event": "a block of comments is told as an event without data",
    "names of fields are exact": "a block of unknown fields is told as an event without data",
    "blocks without data are no events": "they are told",
    "a block of more than 4 MiB is not kept": "it keeps what comes, without a limit",
    "an event that has not ended is not told, and its id not kept": "the id is kept: the event is lost",
    "an event that is cut in its data is not told": "as above",
    "nothing of a broken stream is joined to the next one": "as above",
    "an id counts for the events after it, too": "a block of comments is told as an event without data",
    "an id without data counts": "it is told as an event without data",
    "an id with NUL is none": "it is kept, and no request can be made with it: the client never comes back",
    "an empty id forgets the one before": "a line without a colon is no field",
    "a retry that is no number is none": "it comes back after the milliseconds that the digits at its beginning say",
    "204 is the end": "it comes back",
    "204 is the end of a client that comes back, too": "as above",
  },
};
