/** The reason of a retry whose handler awaits for ever. */
export const NEVER =
  'the handler awaits what never comes: its promise is pending, and no other promise and no timer is left that could settle it';
