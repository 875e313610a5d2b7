//! Needs: what an instance of a component takes of the engine's pool.
//!
//! Counted from the component's bytes: wasmtime says how many memories and tables a component has, but not how many
//! core instances. What an import or an alias brings is not known here and is counted as one of each.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef,
    Instance, Parser, Payload,
};

/// What an instance takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Needs {
    pub(super) core_instances: u32,
    pub(super) memories: u32,
    pub(super) tables: u32,
}

impl Needs {
    /// What is counted for a module or component that is not known here.
    const UNKNOWN: Needs = Needs { core_instances: 1, memories: 1, tables: 1 };

    fn add(&mut self, other: Needs) {
        self.core_instances = self.core_instances.saturating_add(other.core_instances);
        self.memories = self.memories.saturating_add(other.memories);
        self.tables = self.tables.saturating_add(other.tables);
    }

    /// What an instance of a component takes. Bytes that cannot be read are counted as far as they can.
    pub(super) fn of(wasm: &[u8]) -> Self {
        let mut walk = Walk { open: vec![Scope::component()] };
        for payload in Parser::new(0).parse_all(wasm) {
            let Ok(payload) = payload else { break };
            walk.enter(payload);
        }
        walk.open.first().map(|scope| scope.takes).unwrap_or_default()
    }
}

/// A module or component that is being read.
struct Scope {
    is_module: bool,
    /// What an instance of it takes, as far as it has been read.
    takes: Needs,
    /// The core modules and the components that can be instantiated in it, by their indices.
    modules: Vec<Needs>,
    components: Vec<Needs>,
}

impl Scope {
    fn component() -> Self {
        Scope { is_module: false, takes: Needs::default(), modules: Vec::new(), components: Vec::new() }
    }

    fn module() -> Self {
        Scope {
            is_module: true,
            takes: Needs { core_instances: 1, ..Needs::default() },
            ..Scope::component()
        }
    }

    fn known(of: &[Needs], index: u32) -> Needs {
        usize::try_from(index).ok().and_then(|index| of.get(index)).copied().unwrap_or(Needs::UNKNOWN)
    }
}

/// The way through a component, from the outermost scope to the one that is read now.
struct Walk {
    open: Vec<Scope>,
}

impl Walk {
    fn enter(&mut self, payload: Payload<'_>) {
        match payload {
            Payload::ModuleSection { .. } => return self.open.push(Scope::module()),
            Payload::ComponentSection { .. } => return self.open.push(Scope::component()),
            Payload::End(_) => return self.leave(),
            Payload::ComponentAliasSection(reader) => {
                return reader.into_iter().flatten().for_each(|alias| self.alias(alias));
            }
            _ => {}
        }
        let Some(scope) = self.open.last_mut() else { return };
        match payload {
            Payload::MemorySection(memories) => scope.takes.memories += memories.count(),
            Payload::TableSection(tables) => scope.takes.tables += tables.count(),
            Payload::InstanceSection(instances) => {
                for instance in instances.into_iter().flatten() {
                    if let Instance::Instantiate { module_index, .. } = instance {
                        scope.takes.add(Scope::known(&scope.modules, module_index));
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.into_iter().flatten() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance {
                        scope.takes.add(Scope::known(&scope.components, component_index));
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.into_iter().flatten() {
                    match import.ty {
                        ComponentTypeRef::Module(_) => scope.modules.push(Needs::UNKNOWN),
                        ComponentTypeRef::Component(_) => scope.components.push(Needs::UNKNOWN),
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                // What is exported can be instantiated under another index as well.
                for export in exports.into_iter().flatten() {
                    match export.kind {
                        ComponentExternalKind::Module => {
                            scope.modules.push(Scope::known(&scope.modules, export.index));
                        }
                        ComponentExternalKind::Component => {
                            scope.components.push(Scope::known(&scope.components, export.index));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// A module or component has been read: it can be instantiated in the one around it.
    fn leave(&mut self) {
        if self.open.len() < 2 {
            return;
        }
        let Some((scope, around)) = self.open.pop().zip(self.open.last_mut()) else { return };
        let list = if scope.is_module { &mut around.modules } else { &mut around.components };
        list.push(scope.takes);
    }

    fn alias(&mut self, alias: ComponentAlias<'_>) {
        let (is_module, needs) = match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => {
                (true, Needs::UNKNOWN)
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                (false, Needs::UNKNOWN)
            }
            ComponentAlias::Outer { kind, count, index } => {
                let outer = usize::try_from(count).ok().and_then(|count| self.open.iter().rev().nth(count));
                let Some(outer) = outer else { return };
                match kind {
                    ComponentOuterAliasKind::CoreModule => (true, Scope::known(&outer.modules, index)),
                    ComponentOuterAliasKind::Component => (false, Scope::known(&outer.components, index)),
                    ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => return,
                }
            }
            _ => return,
        };
        let Some(scope) = self.open.last_mut() else { return };
        if is_module { scope.modules.push(needs) } else { scope.components.push(needs) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Needs {
        Needs::of(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn only_what_is_instantiated_counts_and_as_often_as_it_is() {
        let needs = of(r#"(component
            (core module $m (memory 1) (table 1 funcref) (table 2 funcref))
            (core module $unused (memory 1))
            (core instance (instantiate $m))
            (core instance (instantiate $m)))"#);
        assert_eq!(needs, Needs { core_instances: 2, memories: 2, tables: 4 });
    }

    #[test]
    fn components_within_components_count_too() {
        let needs = of(r#"(component
            (core module $outer (memory 1))
            (component $inner
                (core module $m (table 1 funcref))
                (alias outer 1 $outer (core module $alias))
                (core instance (instantiate $m))
                (core instance (instantiate $alias)))
            (instance (instantiate $inner))
            (instance (instantiate $inner))
            (core instance (instantiate $outer)))"#);
        assert_eq!(needs, Needs { core_instances: 5, memories: 3, tables: 2 });
    }

    #[test]
    fn what_is_not_known_is_counted_as_one_of_each() {
        let needs = of(r#"(component
            (import "m" (core module $m))
            (core instance (instantiate $m)))"#);
        assert_eq!(needs, Needs::UNKNOWN);
        assert_eq!(Needs::of(b"no component"), Needs::default());
    }
}
