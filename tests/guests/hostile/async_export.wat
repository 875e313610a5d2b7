;; Exports an asynchronous `handle`, which this contract does not use. It must be refused, with what to do.
(component
  (core module $module
    (func (export "handle") (result i32) unreachable)
    (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
  (core instance $inner (instantiate $module))
  (func $handle async (canon lift (core func $inner "handle") async (callback (core func $inner "callback"))))
  (instance $handler (export "handle" (func $handle)))
  (export "heddle:plugin/handler@0.1.0" (instance $handler)))
