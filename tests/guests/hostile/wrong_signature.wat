;; Exports a `handle` that takes nothing and gives nothing. It must be refused.
(component
  (core module $module (func (export "handle")))
  (core instance $inner (instantiate $module))
  (func $handle (canon lift (core func $inner "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "heddle:plugin/handler@0.1.0" (instance $handler)))
