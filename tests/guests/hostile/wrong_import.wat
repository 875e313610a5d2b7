;; Imports a function of the contract with a type of its own. It must be refused.
(component
  (import "heddle:plugin/context@0.1.0" (instance (export "attempt" (func (param "fd" u32) (result string))))))
