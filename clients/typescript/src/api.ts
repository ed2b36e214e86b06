// Made by scripts/api.mjs from the OpenAPI document of a node. Do not edit.

export interface Draft {
  data: unknown;
  topic: string;
}

export interface Event {
  central_at?: string | null;
  clock?: string;
  data: unknown;
  durability: string;
  id: string;
  published_at: string | null;
  source: string;
  topic: string;
}

export interface History {
  events: Event[];
  next: string | null;
}

export interface NewToken {
  topics: string[];
  ttl_sec?: number;
}

export interface Problem {
  detail?: string;
  retry_after_sec?: number;
  status: number;
  title: string;
  topic?: string;
  type: string;
}

export interface Published {
  durability: string;
  id: string;
  published_at: string | null;
  topic: string;
}

export interface Token {
  expires_at: string | null;
  token: string;
  topics: string[];
}
