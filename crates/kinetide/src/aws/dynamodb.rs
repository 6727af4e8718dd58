//! The lease table in DynamoDB.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, ConsumedCapacity, KeySchemaElement, KeyType,
    ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TableDescription,
    TableStatus,
};

use super::error::{Place, table_error};
use super::item::{self, Item};
use super::load::Aws;
use crate::clock::Clock;
use crate::lease::usage::{Call, Meter, item_bytes, write_units};
use crate::lease::{Claim, Lease, LeaseKey, LeaseTable, LeaseUpdate, Prepared, TableError, TableErrorKind, TableUsage};
use crate::stream::id::TableName;

const POLL_INTERVAL_FIRST: Duration = Duration::from_millis(50);
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(2);
const CREATE_TIME_MAX: Duration = Duration::from_secs(600);
/// Pages of one listing: 1 MB each, thousands of leases.
const PAGES_MAX: usize = 10_000;
/// Faults of items that are told.
const TOLD_MAX: usize = 1_000;

/// A lease table in DynamoDB, in the layout of the Java KCL.
#[derive(Debug, Clone)]
pub struct DynamoDbLeaseTable {
    client: Client,
    name: String,
    address: Arc<str>,
    clock: Clock,
    meter: Meter,
    /// Keys of items that cannot be read and were told.
    told: Arc<Mutex<HashSet<String>>>,
}

impl DynamoDbLeaseTable {
    /// The table of this name; nothing is called yet.
    #[must_use]
    pub fn new(aws: &Aws, name: &TableName) -> Self {
        Self {
            client: aws.dynamodb.clone(),
            name: name.to_string(),
            address: aws.dynamodb_address.clone(),
            clock: Clock::system(),
            meter: Meter::default(),
            told: Arc::default(),
        }
    }

    fn place(&self) -> Place<'_> {
        Place { table: &self.name, address: &self.address }
    }

    fn error(&self, kind: TableErrorKind, operation: &'static str, message: impl Into<String>) -> TableError {
        TableError::new(kind, operation, &self.name, message)
    }

    async fn describe(&self) -> Result<Option<TableDescription>, TableError> {
        match self.client.describe_table().table_name(&self.name).send().await {
            Ok(output) => Ok(output.table),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(table_error("DescribeTable", self.place(), error)),
        }
    }

    /// Asks for the table; true if this call made it.
    async fn create_table(&self) -> Result<bool, TableError> {
        let request = self
            .client
            .create_table()
            .table_name(&self.name)
            .set_attribute_definitions(Some(vec![key_definition()]))
            .set_key_schema(Some(vec![key_schema()]))
            .billing_mode(BillingMode::PayPerRequest);
        match request.send().await {
            Ok(_) => Ok(true),
            // Another worker was faster.
            Err(error) if error.code() == Some("ResourceInUseException") => Ok(false),
            Err(error) => Err(table_error("CreateTable", self.place(), error)),
        }
    }

    async fn wait_until_usable(&self) -> Result<(), TableError> {
        let give_up_at = self.clock.monotonic().after(CREATE_TIME_MAX);
        let mut interval = POLL_INTERVAL_FIRST;
        while self.clock.monotonic() < give_up_at {
            let table = self.describe().await?;
            if table.as_ref().is_some_and(is_usable) {
                return Ok(());
            }
            self.clock.sleep(interval).await;
            interval = (interval * 2).min(POLL_INTERVAL_MAX);
        }
        let message = format!("the table was not ready within {} s", CREATE_TIME_MAX.as_secs());
        Err(self.error(TableErrorKind::Unavailable, "DescribeTable", message))
    }

    fn check_layout(&self, table: &TableDescription) -> Result<(), TableError> {
        let keys: Vec<_> = table.key_schema().iter().map(KeySchemaElement::attribute_name).collect();
        if keys == [item::KEY] {
            return Ok(());
        }
        let message = format!("its key is ({}) and not ({})", keys.join(", "), item::KEY);
        Err(self.error(TableErrorKind::NotALeaseTable, "DescribeTable", message))
    }

    /// The lease in an item of a listing; an item that cannot be read hides only itself, and is told once.
    fn read_listed(&self, item: &Item) -> Option<Lease> {
        item::read(item).unwrap_or_else(|error| {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.len() < TOLD_MAX && told.insert(error.to_string()) {
                tracing::error!("{error}, table={}; this lease is left alone until the item is mended", self.name);
            }
            None
        })
    }

    fn read(&self, operation: &'static str, item: &Item) -> Result<Option<Lease>, TableError> {
        item::read(item).map_err(|error| self.error(TableErrorKind::Invalid, operation, error.to_string()))
    }

    /// The row that stood in the way, from the refusal itself or else by reading it.
    ///
    /// A refusal costs as much as the write would have, and does not say so.
    async fn lost(&self, call: Call, key: &LeaseKey, item: Option<Item>) -> Result<Claim, TableError> {
        let row = match item {
            Some(item) => self.read(call.operation, &item),
            None => self.get(key).await,
        };
        let bytes = row.as_ref().ok().and_then(Option::as_ref).map_or(0, item_bytes);
        self.meter.write(call, write_units(bytes));
        row.map(Claim::Lost)
    }
}

fn key_definition() -> AttributeDefinition {
    let builder = AttributeDefinition::builder().attribute_name(item::KEY).attribute_type(ScalarAttributeType::S);
    builder.build().expect("name and type are given")
}

fn key_schema() -> KeySchemaElement {
    let builder = KeySchemaElement::builder().attribute_name(item::KEY).key_type(KeyType::Hash);
    builder.build().expect("name and type are given")
}

fn is_usable(table: &TableDescription) -> bool {
    matches!(table.table_status(), Some(TableStatus::Active | TableStatus::Updating))
}

fn key_of(key: &LeaseKey) -> AttributeValue {
    AttributeValue::S(key.to_string())
}

#[async_trait]
impl LeaseTable for DynamoDbLeaseTable {
    fn name(&self) -> &str {
        &self.name
    }

    async fn prepare(&self) -> Result<Prepared, TableError> {
        let mut is_created = false;
        match self.describe().await? {
            Some(table) => {
                self.check_layout(&table)?;
                if is_usable(&table) {
                    return Ok(Prepared::Existed);
                }
            }
            None => is_created = self.create_table().await?,
        }
        self.wait_until_usable().await?;
        Ok(if is_created { Prepared::Created } else { Prepared::Existed })
    }

    async fn list(&self) -> Result<Vec<Lease>, TableError> {
        let (mut leases, mut next) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let request = self.client.scan().table_name(&self.name).set_exclusive_start_key(next);
            let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
            let page = request.send().await.map_err(|error| table_error("Scan", self.place(), error))?;
            self.meter.read(Call::of("Scan"), units(page.consumed_capacity()));
            leases.extend(page.items().iter().filter_map(|item| self.read_listed(item)));
            next = page.last_evaluated_key;
            if next.is_none() {
                return Ok(leases);
            }
        }
        Err(self.error(TableErrorKind::Invalid, "Scan", "the listing has no end"))
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        let request = self.client.get_item().table_name(&self.name).key(item::KEY, key_of(key)).consistent_read(true);
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let output = request.send().await.map_err(|error| table_error("GetItem", self.place(), error))?;
        self.meter.read(Call::of("GetItem"), units(output.consumed_capacity()));
        output.item.map_or(Ok(None), |item| self.read("GetItem", &item))
    }

    async fn create(&self, lease: &Lease) -> Result<Claim, TableError> {
        let request = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item::write(lease)))
            .condition_expression("attribute_not_exists(#key)")
            .expression_attribute_names("#key", item::KEY)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let call = Call::of("PutItem");
        match request.send().await {
            Ok(output) => {
                self.meter.write(call, units(output.consumed_capacity()));
                Ok(Claim::Won(lease.clone()))
            }
            Err(error) => match error.as_service_error() {
                Some(service) if service.is_conditional_check_failed_exception() => {
                    let item = conflicting_item(service);
                    self.lost(call, &lease.key, item).await
                }
                _ => Err(table_error("PutItem", self.place(), error)),
            },
        }
    }

    async fn update(&self, update: &LeaseUpdate) -> Result<Claim, TableError> {
        let expressions = item::expressions(update);
        let request = self
            .client
            .update_item()
            .table_name(&self.name)
            .key(item::KEY, key_of(&update.key))
            .condition_expression(expressions.condition)
            .update_expression(expressions.update)
            .set_expression_attribute_names(Some(expressions.names))
            .set_expression_attribute_values((!expressions.values.is_empty()).then_some(expressions.values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let call = Call::update(update.operation);
        match request.send().await {
            Ok(output) => {
                self.meter.write(call, units(output.consumed_capacity()));
                let row = self.read("UpdateItem", &output.attributes.unwrap_or_default())?;
                let vanished = || self.error(TableErrorKind::Invalid, "UpdateItem", "the answer holds no lease");
                row.map(Claim::Won).ok_or_else(vanished)
            }
            Err(error) => match error.as_service_error() {
                Some(service) if service.is_conditional_check_failed_exception() => {
                    let item = conflicting_item(service);
                    self.lost(call, &update.key, item).await
                }
                _ => Err(table_error("UpdateItem", self.place(), error)),
            },
        }
    }

    async fn delete(&self, key: &LeaseKey) -> Result<(), TableError> {
        let request = self.client.delete_item().table_name(&self.name).key(item::KEY, key_of(key));
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let output = request.send().await.map_err(|error| table_error("DeleteItem", self.place(), error))?;
        self.meter.write(Call::of("DeleteItem"), units(output.consumed_capacity()));
        Ok(())
    }

    fn usage(&self) -> TableUsage {
        self.meter.usage()
    }
}

fn units(consumed: Option<&ConsumedCapacity>) -> f64 {
    consumed.and_then(ConsumedCapacity::capacity_units).unwrap_or_default()
}

/// The item a failed condition returned, from either kind of write.
fn conflicting_item(error: &(dyn std::error::Error + 'static)) -> Option<Item> {
    use aws_sdk_dynamodb::operation::{put_item::PutItemError, update_item::UpdateItemError};
    let refusal = match (error.downcast_ref::<UpdateItemError>(), error.downcast_ref::<PutItemError>()) {
        (Some(UpdateItemError::ConditionalCheckFailedException(refusal)), _) => refusal,
        (_, Some(PutItemError::ConditionalCheckFailedException(refusal))) => refusal,
        _ => return None,
    };
    refusal.item().cloned()
}
