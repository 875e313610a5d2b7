;; Imports threads, which WASI does not offer here. It must be refused.
(component
  (import "wasi:thread/spawn@0.1.0" (instance (export "spawn" (func (param "start" u32) (result u32))))))
