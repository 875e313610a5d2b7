;; A module, not a component. It must be refused.
(module (func (export "handle")))
