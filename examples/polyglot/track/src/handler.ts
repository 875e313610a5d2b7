// Follows every parcel and tells when it is ready to go: accepted, and labelled, in whatever order that is heard.
//
// On all of `parcel.*.*`. The key is the parcel: `{subject.2}`.

import { type Event, publish, state } from '@heddle/sdk';

interface Track {
  /** The steps that the parcel has taken. */
  steps: string[];
  /** What its label says, once it has one. */
  label?: string;
}

export default function track(event: Event) {
  const step = event.token(1) ?? '';
  const track: Track = state.get<Track>() ?? { steps: [] };
  const wasReady = isReady(track);
  if (!track.steps.includes(step)) track.steps.push(step);
  if (step === 'labelled') track.label = event.json<{ label: string }>().label;
  state.set(track);
  if (isReady(track) && !wasReady) {
    publish(`parcel.ready.${event.key}`, { parcel: event.key, label: track.label, steps: track.steps.length });
  }
}

function isReady({ steps }: Track): boolean {
  return steps.includes('accepted') && steps.includes('labelled');
}
